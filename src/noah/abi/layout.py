"""Structures as classes: declare the fields, get packing, offsets and a checked size.

    class Timespec(Layout, size=16):
        sec: i64
        nsec: i64

    sec, nsec = Timespec.struct.unpack_from(memory, offset)   # fast: a tuple of the fields
    Timespec(sec, nsec).pack_into(memory, offset)             # readable: an object

Little endian, and no padding but what is declared, as `_pad0: ClassVar[pad4]`: one declaration is the same bytes on
every host. The size is the ABI's own, written down once more, and compared when the class is made.
"""

from __future__ import annotations

from struct import Struct, calcsize
from sys import modules
from typing import Annotated, Any, ClassVar, Self, TypeAlias, dataclass_transform

Readable: TypeAlias = bytes | bytearray | memoryview
Writable: TypeAlias = bytearray | memoryview

i8: TypeAlias = Annotated[int, "b"]
u8: TypeAlias = Annotated[int, "B"]
i16: TypeAlias = Annotated[int, "h"]
u16: TypeAlias = Annotated[int, "H"]
i32: TypeAlias = Annotated[int, "i"]
u32: TypeAlias = Annotated[int, "I"]
i64: TypeAlias = Annotated[int, "q"]
u64: TypeAlias = Annotated[int, "Q"]
char2: TypeAlias = Annotated[bytes, "2s"]
char4: TypeAlias = Annotated[bytes, "4s"]
char8: TypeAlias = Annotated[bytes, "8s"]
char16: TypeAlias = Annotated[bytes, "16s"]
char19: TypeAlias = Annotated[bytes, "19s"]
char48: TypeAlias = Annotated[bytes, "48s"]
char65: TypeAlias = Annotated[bytes, "65s"]
pad1: TypeAlias = Annotated[None, "x"]
pad2: TypeAlias = Annotated[None, "2x"]
pad4: TypeAlias = Annotated[None, "4x"]
pad8: TypeAlias = Annotated[None, "8x"]


@dataclass_transform()
class Layout:
    """Base of all structures; subclasses declare fields only."""

    struct: ClassVar[Struct]
    """Packs and unpacks the fields as a tuple in the order of their declaration."""

    OFFSETS: ClassVar[dict[str, int]]
    """Each field's offset in bytes."""

    def __init_subclass__(cls, *, size: int) -> None:
        # Annotations are text here; typing.get_type_hints() would take most of Noah's start to read them.
        scope = vars(modules[cls.__module__])
        layout = "<"
        offsets = {}
        at = 0
        for name, hint in cls.__annotations__.items():
            padding = hint.startswith("ClassVar[")
            code = scope[hint.removeprefix("ClassVar[").removesuffix("]")].__metadata__[0]
            if not padding:
                offsets[name] = at
            layout += code
            at += calcsize("<" + code)
        cls.struct = Struct(layout)
        cls.OFFSETS = offsets
        if cls.struct.size != size:
            raise TypeError(f"{cls.__name__} has {cls.struct.size} bytes, the ABI says {size}")

    def __init__(self, *values: Any, **named: Any) -> None:
        """Taken by the first object of a class only: its own methods are then written out, with no loop over fields."""
        cls = type(self)
        assigned = "; ".join(f"self.{name} = {name}" for name in cls.OFFSETS)
        listed = ", ".join(f"self.{name}" for name in cls.OFFSETS)
        methods: dict[str, Any] = {}
        exec(
            f"def __init__(self, {', '.join(cls.OFFSETS)}): {assigned}\ndef values(self): return ({listed},)",
            {},
            methods,
        )
        for name, method in methods.items():
            method.__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(cls, name, method)
        methods["__init__"](self, *values, **named)

    def values(self) -> tuple[Any, ...]:
        """The fields in their order. Every subclass gets its own."""
        return ()

    def pack(self) -> bytes:
        return self.struct.pack(*self.values())

    def pack_into(self, memory: Writable, offset: int = 0) -> None:
        self.struct.pack_into(memory, offset, *self.values())

    @classmethod
    def unpack_from(cls, memory: Readable, offset: int = 0) -> Self:
        """The object in memory. Raises struct.error if memory ends before it does."""
        return cls(*cls.struct.unpack_from(memory, offset))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Layout) and other.values() == self.values()

    __hash__ = None  # type: ignore[assignment]  # fields change

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self.OFFSETS, self.values(), strict=True))
        return f"{type(self).__name__}({fields})"
