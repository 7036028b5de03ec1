"""Every way in which a render can fail, each with a name and an exit code.

A failure is data: its ``reason`` is what reports and records store, its message names the
file and the cause, its ``hint`` the way out. All of it survives the trip from the process
that has Blender in it (:func:`from_reason`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import ClassVar, Final

from .words import one_line, without_secrets

__all__ = [
    "AccessRefused",
    "CameraFileError",
    "CheckFailed",
    "ChecksumMismatch",
    "ClippedPictures",
    "ConnectionLost",
    "DegenerateGeometry",
    "DeviceUnavailable",
    "DiskFull",
    "DownloadFailed",
    "DuplicateAsset",
    "EmptyFile",
    "EmptyPictures",
    "FormatCannotHold",
    "ImportFailed",
    "Interrupted",
    "InvalidEdit",
    "InvalidGeometry",
    "InvalidJob",
    "InvalidList",
    "LeavesPicture",
    "LedgerDamaged",
    "MissingDependency",
    "MissingLibraries",
    "MissingParts",
    "MissingPass",
    "MissingTextures",
    "NoGeometry",
    "NormalizationFailed",
    "ObjectMissing",
    "OnlineAccessDenied",
    "OutOfMemory",
    "OutputBusy",
    "OutputExists",
    "OutputNotWritable",
    "ProtocolNotAllowed",
    "RenderError",
    "RenderFailed",
    "SandboxUnavailable",
    "SceneLost",
    "SourceNotFound",
    "StaleFrame",
    "StillAnimation",
    "TruncatedFile",
    "UnexpectedError",
    "UnknownRequest",
    "UnsafeData",
    "UnsupportedExtension",
    "UnsupportedFormat",
    "UploadFailed",
    "WorkerCrashed",
    "WorkerStartFailed",
    "WorkerTimeout",
    "WrongFormat",
    "exit_code_of",
    "from_os_error",
    "from_reason",
    "reasons",
]

_SEVERAL_KINDS: Final = 3


_LONGEST: Final = 4000
"""Characters of a message: some libraries put all that they were given into theirs."""


class RenderError(Exception):
    """Base of every failure this package names.

    Names, paths and words of libraries stand in messages, all of which a stranger may have
    chosen: each is one line without anything that a terminal obeys, and without passwords.

    Args:
        message: What happened, with the file it happened to.
        hint: What the user can do about it; may be empty.
        log: The last lines the worker printed, where a process died.
    """

    reason: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        self.message, self.hint = _said(message), _said(hint)
        super().__init__(self.message)
        self.log = without_secrets(log)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip() if self.hint else self.message


def _said(text: str) -> str:
    text = one_line(without_secrets(text[: 4 * _LONGEST]))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class UnexpectedError(RenderError):
    """A defect of this program; the log has the traceback."""

    reason = "unexpected-error"
    exit_code = 1


class InvalidJob(RenderError):
    """The job says something impossible, or a flag has an unknown value."""

    reason = "invalid-job"
    exit_code = 2


class CameraFileError(InvalidJob):
    """The file of camera poses cannot be read or understood."""

    reason = "camera-file"


class InvalidEdit(InvalidJob):
    """A change of an open scene says something impossible, or names what is not there."""

    reason = "invalid-edit"


class MissingDependency(RenderError):
    """A Python package that this request needs is not installed."""

    reason = "missing-dependency"
    exit_code = 5


class InvalidList(RenderError):
    """An entry of a list of sources cannot be understood."""

    reason = "invalid-list"
    exit_code = 6


class ProtocolNotAllowed(RenderError):
    """An address has a protocol that may do more than fetch a file."""

    reason = "protocol-not-allowed"
    exit_code = 7


class ObjectMissing(RenderError):
    """Where Objaverse-XL found the object, it is no more."""

    reason = "object-missing"
    exit_code = 9


class SourceNotFound(RenderError):
    """There is no such file."""

    reason = "source-not-found"
    exit_code = 10


class EmptyFile(RenderError):
    """The file has no bytes in it."""

    reason = "empty-file"
    exit_code = 11


class WrongFormat(RenderError):
    """The file's content does not fit its name."""

    reason = "wrong-format"
    exit_code = 12


class TruncatedFile(RenderError):
    """The file ends before its own header says that it does."""

    reason = "truncated-file"
    exit_code = 13


class UnsupportedFormat(RenderError):
    """No importer for this file extension, or pixels of a kind that a view does not have."""

    reason = "unsupported-format"
    exit_code = 14


class UnsupportedExtension(UnsupportedFormat):
    """The file needs an extension of its format that is not known here, or not installed."""

    reason = "unsupported-extension"
    exit_code = 26


class DownloadFailed(RenderError):
    """The network or a server did not give the file."""

    reason = "download-failed"
    exit_code = 16


class ChecksumMismatch(RenderError):
    """What came is not what its server, or the list, says that it is."""

    reason = "checksum-mismatch"
    exit_code = 19


class OnlineAccessDenied(RenderError):
    """The asset would have to be fetched, and the network may not be used."""

    reason = "online-access-denied"
    exit_code = 17

    @classmethod
    def to_fetch(cls, what: str) -> OnlineAccessDenied:
        """Of what is not here, with the way out."""
        return cls(
            f"{what} is not on this machine, and online access is switched off.",
            hint="Leave out --offline, or fetch it first; in Blender: Preferences, System, "
            "Allow Online Access.",
        )


class ImportFailed(RenderError):
    """Blender's importer refused the file."""

    reason = "import-failed"
    exit_code = 15


class UnsafeData(RenderError):
    """A file says what no honest one says: a path that leads elsewhere, a size beyond reason."""

    reason = "unsafe-data"
    exit_code = 18


class NoGeometry(RenderError):
    """Nothing in the file has a face that renders."""

    reason = "no-geometry"
    exit_code = 20


class InvalidGeometry(RenderError):
    """Vertices that are not finite numbers."""

    reason = "invalid-geometry"
    exit_code = 21


class DegenerateGeometry(RenderError):
    """The geometry has no extent, or one that 32-bit floats cannot hold."""

    reason = "degenerate-geometry"
    exit_code = 22


class MissingTextures(RenderError):
    """Textures that the asset refers to are not there, and the job refuses that."""

    reason = "missing-textures"
    exit_code = 23


class MissingParts(RenderError):
    """The asset needs files that are not its own, and the job refuses that."""

    reason = "missing-parts"
    exit_code = 25


class NormalizationFailed(RenderError):
    """The scene does not stay inside its box after it was normalised."""

    reason = "normalization-failed"
    exit_code = 24


class EmptyPictures(RenderError):
    """The object is in no view at all."""

    reason = "empty-pictures"
    exit_code = 30


class ClippedPictures(RenderError):
    """Every view cuts most of the object off."""

    reason = "clipped-pictures"
    exit_code = 31


class StillAnimation(RenderError):
    """Frames were asked for, and they all show the same."""

    reason = "still-animation"
    exit_code = 35


class LeavesPicture(RenderError):
    """At some frame the object is in no view."""

    reason = "leaves-picture"
    exit_code = 36


class CheckFailed(RenderError):
    """The written data contradict themselves."""

    reason = "check-failed"
    exit_code = 32


class MissingPass(RenderError):
    """A stored dataset lacks a pass that this use of it needs."""

    reason = "missing-pass"
    exit_code = 33


class FormatCannotHold(RenderError):
    """A format has no place for something that the data have."""

    reason = "format-cannot-hold"
    exit_code = 34


class OutputNotWritable(RenderError):
    """The output folder cannot be written to."""

    reason = "output-not-writable"
    exit_code = 40


class DiskFull(RenderError):
    """No space left where the output or the scratch files go."""

    reason = "disk-full"
    exit_code = 41


class OutputExists(RenderError):
    """A finished asset of a different job stands where this one would go."""

    reason = "output-exists"
    exit_code = 42


class OutputBusy(RenderError):
    """Another run works on the same output folder."""

    reason = "output-busy"
    exit_code = 44


class LedgerDamaged(RenderError):
    """The file that says what became of every asset cannot be read."""

    reason = "ledger-damaged"
    exit_code = 45


class UploadFailed(RenderError):
    """Where files are sent refuses them, or cannot be reached."""

    reason = "upload-failed"
    exit_code = 46


class DuplicateAsset(RenderError):
    """A list gives two sources one name, or names one file twice."""

    reason = "duplicate-asset"
    exit_code = 43


class WorkerCrashed(RenderError):
    """The process that has Blender in it died."""

    reason = "worker-crashed"
    exit_code = 50


class WorkerTimeout(RenderError):
    """An asset took longer than allowed; its process was ended."""

    reason = "timeout"
    exit_code = 51


class OutOfMemory(RenderError):
    """The worker needed more memory than allowed."""

    reason = "out-of-memory"
    exit_code = 52


class WorkerStartFailed(RenderError):
    """Blender did not start."""

    reason = "worker-start-failed"
    exit_code = 53


class MissingLibraries(WorkerStartFailed):
    """Blender did not start, for the system lacks shared libraries that it is linked with."""

    reason = "missing-libraries"
    exit_code = 55


class DeviceUnavailable(RenderError):
    """The compute device that was asked for is not there."""

    reason = "device-unavailable"
    exit_code = 60


class RenderFailed(RenderError):
    """Blender rendered nothing, or refused one of the settings."""

    reason = "render-failed"
    exit_code = 61


class SandboxUnavailable(RenderError):
    """Workers have to be shut in, and this system cannot."""

    reason = "sandbox-unavailable"
    exit_code = 56


class UnknownRequest(RenderError):
    """A worker was asked for something that it does not know, or for a scene that is not open."""

    reason = "unknown-request"
    exit_code = 54


class SceneLost(RenderError):
    """A scene cannot be brought back to its state after its worker died."""

    reason = "scene-lost"
    exit_code = 64


class StaleFrame(RenderError):
    """A frame shows another state of the scene than it was asked for."""

    reason = "stale-frame"
    exit_code = 65


class AccessRefused(RenderError):
    """A server does not let this client in, or not do that."""

    reason = "access-refused"
    exit_code = 66


class ConnectionLost(RenderError):
    """The other side of a connection went away, or cannot be reached."""

    reason = "connection-lost"
    exit_code = 67


class Interrupted(RenderError):
    """The user stopped the run."""

    reason = "interrupted"
    exit_code = 130


def _all_classes() -> dict[str, type[RenderError]]:
    found: dict[str, type[RenderError]] = {}
    pending: list[type[RenderError]] = [RenderError]
    while pending:
        cls = pending.pop()
        found[cls.reason] = cls
        pending.extend(cls.__subclasses__())
    return found


def reasons() -> list[str]:
    """The names of all failures, in alphabetical order."""
    return sorted(_all_classes())


def exit_code_of(codes: Iterable[int]) -> int:
    """Of all failures together: 0 for none, the code of the one kind that there was, or 3."""
    kinds = set(codes)
    return 0 if not kinds else kinds.pop() if len(kinds) == 1 else _SEVERAL_KINDS


def from_reason(reason: str, message: str, hint: str = "", log: str = "") -> RenderError:
    """The error that a worker reported, as the class it was raised with."""
    return _all_classes().get(reason, UnexpectedError)(message, hint=hint, log=log)


def from_os_error(error: OSError, what: str) -> RenderError:
    """Name an operating-system error met while writing ``what``."""
    cause = error.strerror or str(error)
    if error.errno == errno.ENAMETOOLONG:
        # That name's fault: nothing will be better later.
        return InvalidJob(f"{what}: {cause}.", hint="Give it a shorter name.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{what}: {cause}.", hint="Free some space or choose another folder.")
    return OutputNotWritable(f"{what}: {cause}.", hint="Choose a folder that you may write to.")
