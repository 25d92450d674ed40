"""Files as disks, networks and strangers leave them: bytes are not what they were."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence

# What readers of headers trip over, in as many bytes as the field has.
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 13377, 65500)
EXTREMES += (0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1)
_HEADER = 64  # bytes at the start of a file that are half of what is changed
_MOST = 32  # bytes that are changed together


def mutated(rng: random.Random, content: bytes, fields: Sequence[int] = ()) -> bytes:
  """Content with one to three changes.

  Args:
    rng: draws them.
    content: of the file; not empty.
    fields: values, such as its height, whose places are worth a change.
  """
  for _ in range(rng.choice((1, 1, 2, 3))):
    change = rng.choice(_CHANGES)
    content = change(rng, content, fields) if content else content
  return content


def with_png_sums(content: bytes) -> bytes:
  """A PNG whose chunks have the right CRC-32 again, as far as it has whole chunks."""
  fixed, place = bytearray(content), 8
  while place + 12 <= len(fixed):
    (length,) = struct.unpack_from(">I", fixed, place)
    end = place + 8 + length
    if end + 4 > len(fixed):
      break
    struct.pack_into(">I", fixed, end, zlib.crc32(fixed[place + 4 : end]))
    place = end + 4
  return bytes(fixed)


Change = Callable[[random.Random, bytes, Sequence[int]], bytes]


def _place(rng: random.Random, content: bytes) -> int:
  ends = _HEADER if rng.random() < 0.5 else len(content)
  return rng.randrange(min(ends, len(content)))


def _replaced(content: bytes, place: int, count: int, by: bytes) -> bytes:
  return content[:place] + by + content[place + count :]


def _bits(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  changed = bytearray(content)
  for _ in range(rng.choice((1, 1, 8))):
    changed[_place(rng, content)] ^= 1 << rng.randrange(8)
  return bytes(changed)


def _noise(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  place, count = _place(rng, content), rng.randint(1, _MOST)
  count = min(count, len(content) - place)
  return _replaced(content, place, count, rng.randbytes(count))


def _zeros(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  place, count = _place(rng, content), rng.choice((_MOST, 512))
  count = min(count, len(content) - place)
  return _replaced(content, place, count, bytes(count))


def _inserted(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  return _replaced(
    content, _place(rng, content), 0, rng.randbytes(rng.randint(1, _MOST))
  )


def _deleted(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  return _replaced(content, _place(rng, content), rng.randint(1, _MOST), b"")


def _cut(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  return content[: rng.randrange(len(content))]


def _doubled(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  place = _place(rng, content)
  again = content[place : place + rng.choice((1, 4, _MOST, len(content)))]
  return _replaced(content, place, 0, again)


def _extreme(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  """Sets a number somewhere, in one of the forms that files have them in."""
  form = rng.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
  return _set(form, _place(rng, content), rng, content)


def _field(rng: random.Random, content: bytes, fields: Sequence[int]) -> bytes:
  """Sets a number that seems to be one of `fields`."""
  found = [
    (form, place)
    for form in (">I", "<I", ">H", "<H")
    for value in fields
    if (place := content.find(struct.pack(form, value))) >= 0
  ]
  if not found:
    return _extreme(rng, content, fields)
  return _set(*rng.choice(found), rng, content)


def _set(form: str, place: int, rng: random.Random, content: bytes) -> bytes:
  size = struct.calcsize(form)
  value = rng.choice(EXTREMES) % 256**size
  return _replaced(content, place, size, struct.pack(form, value))


_CHANGES: tuple[Change, ...] = (
  _bits,
  _noise,
  _zeros,
  _inserted,
  _deleted,
  _cut,
  _doubled,
  _extreme,
  _field,
)
