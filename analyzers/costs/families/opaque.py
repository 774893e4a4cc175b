"""Operators whose work their recorded arguments do not determine, whatever formula there were."""

from __future__ import annotations

from mmprof.analyzers.costs.registry import undetermined

# Code that torch.compile made: the arguments are those of the whole graph, and kernels inside are not operators.
undetermined("CompiledFunction*", "Torch-Compiled Region*", "## Call CompiledFxGraph*")

# Gradients of embedding tables with their optimizer: which rows are read and written is not recorded.
undetermined("torch::autograd::CppNode<SplitLookupFunction*")

# Lists of indices are recorded without shapes: what they take has theirs, and values may be broadcast to it.
undetermined(
    "aten::index",
    "aten::_unsafe_index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
)

# The result's size is a list of integers; while these operators existed, traces did not record its values.
undetermined("aten::cudnn_convolution_backward_input", "aten::cudnn_convolution_backward_weight")
