"""Hardware peaks for the roofline: a table of devices, and which of them a trace ran on."""

from mmprof.analyzers.devices.match import DeviceMatch, match_device
from mmprof.analyzers.devices.measured import measured_device
from mmprof.analyzers.devices.spec import DTYPE_KEYS, DeviceSpec
from mmprof.analyzers.devices.table import load_spec_file, load_table

__all__ = [
    "DTYPE_KEYS",
    "DeviceMatch",
    "DeviceSpec",
    "load_spec_file",
    "load_table",
    "match_device",
    "measured_device",
]
