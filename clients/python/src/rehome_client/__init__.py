"""A client of rehome: append, read and follow events, and move tenants between stores while they are written to.

`AsyncClient` and `Client` have the same methods. What a server refuses is raised as a `Problem`, by its type.
"""

from ._async import AsyncClient
from ._core import ExpectedVersion, Id
from ._sync import Client
from ._version import __version__
from .errors import (
    BadRequest,
    Conflict,
    Forbidden,
    IdConflict,
    NoAnswer,
    NotFound,
    NotWrittenHere,
    OutcomeUnknown,
    PositionBeyondEnd,
    PreconditionFailed,
    Problem,
    RehomeError,
    ServerError,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
    VersionConflict,
    ViolationOpen,
    WritesPaused,
)

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Conflict",
    "ExpectedVersion",
    "Forbidden",
    "Id",
    "IdConflict",
    "NoAnswer",
    "NotFound",
    "NotWrittenHere",
    "OutcomeUnknown",
    "PositionBeyondEnd",
    "PreconditionFailed",
    "Problem",
    "RehomeError",
    "ServerError",
    "TooLarge",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "VersionConflict",
    "ViolationOpen",
    "WritesPaused",
    "__version__",
]
