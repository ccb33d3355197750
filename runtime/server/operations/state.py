"""Whether a server takes requests: the one thing that its middleware and its end share."""

from dataclasses import dataclass


@dataclass
class ServerState:
    """Whether a server takes requests.

    Attributes:
        is_draining: whether it is about to end, and takes no new ones.
        running: requests that are being answered.
    """

    is_draining: bool = False
    running: int = 0
