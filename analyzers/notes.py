"""Notes: what loading had to repair, leave out or assume. Each has a code that `mmprof explain` knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import Struct


class Note(Struct, frozen=True):
    """Something a reader of the numbers should know.

    Attributes:
        code: Stable code, `MM-N...`.
        message: One sentence, with counts.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NoteKind:
    """What a note code means.

    Attributes:
        message: The sentence, with `{count}` and other fields to fill in.
        explain: Why it matters and what to do.
    """

    message: str
    explain: str


NOTES: Final[dict[str, NoteKind]] = {
    "MM-N001": NoteKind(
        "the file is cut off: {events} events up to the cut were read ({reason})",
        "The trace has no end: the process was probably killed while it exported, or the copy was interrupted. Everything "
        "before the cut is analyzed; what came after, often the newest device activities, is missing, so totals are low.",
    ),
    "MM-N002": NoteKind(
        "{count} device activities ({share} of device time) have no launch in this trace: carry-in, launched before "
        "recording began (or their launch was lost)",
        "The queue of the device was not empty when recording began. These activities belong to work before the window; "
        "they are shown apart and are not part of the window, of busy time or of any total.",
    ),
    "MM-N003": NoteKind(
        "no device activity has a launch in this trace: activities cannot be linked to operators",
        "The trace holds device events only, or its runtime events were filtered out. Idle causes are `unknown`, classes "
        "come from kernel names. Record with both ProfilerActivity.CPU and CUDA.",
    ),
    "MM-N004": NoteKind(
        "this trace has no device activities: the main thread stands for the device",
        "A CPU-only trace. The operators of the main thread that do work of their own are its activities; other time in "
        "operators is `dispatch`, time outside operators is `python`.",
    ),
    "MM-N005": NoteKind(
        "{count} host events cross another one on their thread; one of each pair was cut so that they nest",
        "Nesting is read from times, and a few events cross: the profiler's own frames, pybind calls, times rounded to "
        "microseconds. A Python frame that opened a context ends where the context begins; other events end where the one "
        "around them does. So each nanosecond of a thread has one innermost event.",
    ),
    "MM-N006": NoteKind(
        "{count} activities overlap another one on the same stream",
        "Streams overlap themselves on graphs, with programmatic dependent launch and by rounding. Busy time is a union, "
        "so nothing is counted twice.",
    ),
    "MM-N007": NoteKind(
        "{count} activities start before their launch call; the clocks of host and device disagree there",
        "The device clock is converted by CUPTI or ROCm with a small error. Such activities have no launch delay.",
    ),
    "MM-N008": NoteKind(
        "{count} events of categories that mmprof does not know were kept apart: {names}",
        "Their time is not part of any analysis. They are in the table `other` of `mmprof query`.",
    ),
    "MM-N009": NoteKind(
        "{count} launches share a correlation id with another launch; the first one counts",
        "Correlation ids are unique in a process. Several processes may have been merged into one file.",
    ),
    "MM-N011": NoteKind(
        "{count} events without a readable time were left out",
        "Their `ts` is missing, null or not a number.",
    ),
    "MM-N012": NoteKind(
        "{count} events without a readable duration, or with a negative one, count as empty",
        "Old exporters wrote negative durations when an event's end was not seen.",
    ),
    "MM-N013": NoteKind(
        "{count} events longer than any recording (eleven days) were left out",
        "The profiler's counters overflowed: their durations are not real.",
    ),
    "MM-N014": NoteKind(
        "{count} events were mended: escapes, control characters, UTF-8, bare NaN or fields of a wrong type",
        "Old exporters do not escape every name. The mended events are analyzed; a field of a wrong type is ignored.",
    ),
    "MM-N015": NoteKind(
        "{count} pieces of the event list could not be read and were skipped",
        "They are not valid JSON even after mending, for instance because of an unescaped quote in a name, or are no events: "
        "entries without a phase.",
    ),
    "MM-N016": NoteKind(
        "{count} events of a phase that Kineto does not write were ignored",
        "Only complete events, instants, metadata, flows and counters are written by torch.profiler.",
    ),
    "MM-N017": NoteKind(
        "times are written without leading zeros (an exporter of March 2024); 5.7 was read as 5.007 us",
        "Between 2024-03-18 and 2024-04-03 libkineto did not pad the nanoseconds. Reading them as decimals would be wrong.",
    ),
    "MM-N018": NoteKind(
        "{count} activities start at time 0: the profiler probably lost their times",
        "Known defects of the profiler write zero for times it could not convert. The window is not to be trusted then.",
    ),
    "MM-N019": NoteKind(
        "the device is not in the table ({found}); bounds need --device-spec",
        "Without a peak and a bandwidth nothing can be said about compute or memory bounds. Give a file with them.",
    ),
    "MM-N020": NoteKind(
        "the profiler's own synchronisation fills {share} of ProfilerStep on the host; steps are measured on the device",
        "The profiler waits for the device when a window opens and closes. A host span that contains it is not a step.",
    ),
    "MM-N021": NoteKind(
        "no operator in this trace has shapes: FLOPs, bytes and bounds are unknown",
        "Record with record_shapes=True.",
    ),
    "MM-N022": NoteKind(
        "{name} was left out: {reason}",
        "One of several traces could not be read, or has nothing of the name that --window gives; the others were analyzed.",
    ),
    "MM-N023": NoteKind(
        "{names} say rank {rank}; they are told apart by `input`",
        "Two recordings of the same process, or traces without a rank, which count as rank 0. Rank and device do not name "
        "one trace then: `input` is the position of the trace in `inputs`, on each device, row and finding.",
    ),
    "MM-N024": NoteKind(
        "{count} launches but no kernels were recorded: device time is unknown, the main thread stands for the device",
        "The profiler saw the calls but not the device: ProfilerActivity.CUDA was on, but CUPTI or ROCm delivered nothing, "
        "for instance because another profiler held the device or its buffers were never flushed. What is shown is the "
        "host's time; nothing can be said of the device.",
    ),
    "MM-N025": NoteKind(
        "{aligned} of {all} kernels in graph replays ({share} of their time) have the operators of their counterparts in "
        "the twin {name}",
        "A replayed graph is one launch, so the trace says of its kernels nothing but their names. --twin gives a trace of "
        "the same work without graphs; where it runs the same kernels in the same order, its operators, modules and shapes "
        "stand for theirs. Kernels that could not be aligned, or might be one of several, keep what the trace says.",
    ),
    "MM-N026": NoteKind(
        "the sidecar {name} cannot be read ({reason}); the trace was analyzed without it",
        "The tracer writes what it measured beside the trace: un-profiled times, ceilings of the machine, what was run. The "
        "trace is complete without it, but the peaks of a CPU and the cost of the profiler are unknown then. Remove the file, "
        "or record the trace again.",
    ),
    "MM-N027": NoteKind(
        "the tracer says: {text}",
        "What `mmprof trace` noted while it recorded: something of the recording that a reader of its numbers should know.",
    ),
    "MM-N028": NoteKind(
        "the recorded run failed: {error}",
        "The trace holds what the workload did until it failed or was interrupted. What would have come after is in no number.",
    ),
    "MM-N029": NoteKind(
        "{count} events are tracks that `mmprof export` added; they were ignored",
        "The file is an annotated trace. What was found in a trace is no part of it, so the numbers are those of the trace "
        "that was annotated.",
    ),
    "MM-N040": NoteKind(
        "the two sides run different models: of their time they share {shares}",
        "Traces of one model share most of their time by operators with shapes, by modules or by the sizes of matrix products, "
        "also on other devices and with other versions. These share next to nothing, so a difference of times says nothing of "
        "a change. --anyway compares them all the same.",
    ),
    "MM-N041": NoteKind(
        "the products have other sizes: {share} of their FLOPs are in sizes that both sides have ({before}; {after})",
        "The same model with another batch, length or image size does other work: its time cannot be compared. Record both "
        "sides with the same inputs. --anyway compares them all the same.",
    ),
    "MM-N042": NoteKind(
        "part of the products have other sizes: {share} of their FLOPs are in sizes that both sides have ({before}; {after})",
        "The inputs of some steps may differ, or one side computes something else. Products are matrix products, "
        "convolutions and those of mixtures of experts; their sizes are compared by FLOPs.",
    ),
    "MM-N043": NoteKind(
        "the workloads are called {before} and {after}",
        "The sidecars name other workloads. What they run seems to be the same.",
    ),
    "MM-N044": NoteKind(
        "the workloads were recorded with {before} and {after}",
        "The sidecars name other values of an argument. Another task, size, batch or length is other work and refused; other "
        "arguments may be the change that is measured.",
    ),
    "MM-N045": NoteKind(
        "the devices differ: {before} and {after}",
        "Every time depends on the device. Kernels have other names there; they are matched by operator, shapes and module.",
    ),
    "MM-N046": NoteKind(
        "only one side has times of its device: {before} and {after}",
        "On the other side the profiler delivered no kernels, and the main thread stands for the device. Record it again.",
    ),
    "MM-N047": NoteKind(
        "most products compute in {before} and in {after}",
        "A change of the data type changes what the hardware can reach, and the results: compare the outputs as well.",
    ),
    "MM-N048": NoteKind(
        "torch differs: {before} and {after}",
        "Another version may choose other kernels and dispatch faster or slower.",
    ),
    "MM-N049": NoteKind(
        "the numbers of steps differ ({before} and {after}): times are per step",
        "Both sides have steps that hold most of the time, so a mean step can be compared.",
    ),
    "MM-N050": NoteKind(
        "the numbers of steps differ ({before} and {after}) and the steps of one side do not hold its time: windows are "
        "compared as they are",
        "Without steps that hold four fifths of the window on both sides nothing is divided. Record both sides with "
        "prof.step(), or choose a --window.",
    ),
    "MM-N051": NoteKind(
        "the profiler was set differently: {before}; {after}",
        "Stacks, shapes and memory cost time on the host: idle time because of python and dispatch is longer where more was "
        "recorded.",
    ),
    "MM-N052": NoteKind(
        "recording made the runs longer by {before} and {after}",
        "The sidecars have the time of the same work without the profiler. What the profiler adds is mostly idle time because "
        "of python and dispatch; a change of it is not a change of the model.",
    ),
    "MM-N053": NoteKind(
        "the world sizes differ: {before} and {after} ranks",
        "Communication, and the part of the work that a rank has, depend on the number of ranks.",
    ),
    "MM-N054": NoteKind(
        "the numbers of devices differ ({before} and {after}): times are the mean of a device",
        "A diff compares the mean device of each side. --rank and --device choose one.",
    ),
    "MM-N055": NoteKind(
        "work from before the recording is left out: {before} and {after} of busy time",
        "Carry-in was launched before the window. It is in no time of the diff, but it may have delayed what is.",
    ),
    "MM-N056": NoteKind(
        "the recordings are not sound: {before}; {after}",
        "Notes of the loader that may move times; `mmprof analyze` shows them in full.",
    ),
    "MM-N057": NoteKind(
        "the machines were differently busy: load {before} and {after}",
        "Other processes slow the host, and with it everything that waits for launches.",
    ),
}


def note(code: str, **fields: object) -> Note:
    """A note with its sentence filled in."""
    return Note(code, NOTES[code].message.format(**fields))
