"""Changes of materials that can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Edits"]


class Edits:
    """What was changed in node trees, in the order in which it was; :meth:`undo` takes it back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._undo)

    def new_node(self, tree: Any, kind: str) -> Any:
        """A new node of a tree, by its class's name."""
        return self.added(tree, tree.nodes.new(kind))

    def added(self, tree: Any, node: Any) -> Any:
        """A node that somebody else has just made."""
        self._undo.append(lambda: tree.nodes.remove(node))
        return node

    def link(self, tree: Any, output: Any, socket: Any) -> None:
        """Feed a socket, instead of what fed it before."""
        before = socket.links[0].from_socket if socket.is_linked else None
        link = tree.links.new(output, socket)
        if before is None:
            self._undo.append(lambda: tree.links.remove(link))
        else:
            self._undo.append(lambda: tree.links.new(before, socket))

    def unlink(self, tree: Any, link: Any) -> None:
        """Cut a link."""
        output, socket = link.from_socket, link.to_socket
        tree.links.remove(link)
        self._undo.append(lambda: tree.links.new(output, socket))

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set a property."""
        before = getattr(owner, name)
        if hasattr(before, "__len__") and not isinstance(before, str):
            before = tuple(before)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, before))

    def mark(self, owner: Any, name: str) -> None:
        """Set a custom property."""
        owner[name] = True
        self._undo.append(lambda: owner.pop(name, None))

    def then(self, action: Callable[[], object]) -> None:
        """Something else that takes back what the caller did."""
        self._undo.append(action)

    def undo(self) -> None:
        """Take everything back, the newest first."""
        while self._undo:
            self._undo.pop()()
