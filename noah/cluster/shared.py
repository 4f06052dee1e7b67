"""Values that every machine of a cluster holds once, however many of its processes read them.

Ray keeps arrays where all processes of a machine read them in place. Tensors it would copy into each process, so their
bytes travel as arrays.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from noah.cluster.session import Cluster

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Shared(Generic[T]):
    """A value in the memory that the processes of a machine share; made by `share`, and small to send.

    Args:
        reference: Ray's reference to it.
    """

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def get(self, *, own: bool = False) -> T:
        """Give the value; a machine that does not hold it yet fetches it from one that does.

        Args:
            own: Whether to copy its arrays and tensors, so that they may be changed. Otherwise they are read in place,
                and a change would end the process.
        """
        import ray

        head, arrays = ray.get(self._reference)
        return unpack(head, [bytearray(array) for array in arrays] if own else arrays)  # type: ignore[no-any-return]


def share(cluster: Cluster, value: T) -> Shared[T]:
    """Put a value where all machines can fetch it, until this process leaves the cluster or forgets it."""
    return Shared(cluster.ray.put(pack(value)))


def pack(value: object) -> tuple[bytes, list[NDArray[np.uint8]]]:
    """Pickle a value, with the bytes of its arrays and tensors beside it, in place wherever they are in memory."""
    buffers: list[pickle.PickleBuffer] = []
    head = io.BytesIO()
    _Packer(head, protocol=5, buffer_callback=buffers.append).dump(value)
    return head.getvalue(), [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]


def unpack(head: bytes, arrays: Sequence[Any]) -> Any:
    """Build the value that `pack` was given, on these bytes."""
    return pickle.loads(head, buffers=arrays)  # noqa: S301  # of this command's own making


class _Packer(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        import torch

        if not isinstance(value, torch.Tensor) or type(value) not in (torch.Tensor, torch.nn.Parameter):
            return NotImplemented
        # The order of a tensor's numbers in memory may change the last digits of a result, so it has to stay.
        if value.layout != torch.strided or not value.is_contiguous() or value.is_quantized:
            return NotImplemented
        flat = value.detach().cpu().reshape(-1).view(torch.uint8).numpy()
        wrap: Callable[[torch.Tensor, bool], torch.Tensor] = (
            torch.nn.Parameter if isinstance(value, torch.nn.Parameter) else _plain
        )
        return _tensor, (flat, value.dtype, tuple(value.shape), str(value.device), wrap, value.requires_grad)


def _tensor(
    flat: NDArray[np.uint8],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    device: str,
    wrap: Callable[[torch.Tensor, bool], torch.Tensor],
    requires_grad: bool,
) -> torch.Tensor:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody may write to it
        tensor = torch.from_numpy(flat).view(dtype).reshape(shape)
    return wrap(tensor.to(torch.device(device).type), requires_grad)


def _plain(tensor: torch.Tensor, requires_grad: bool) -> torch.Tensor:
    return tensor.requires_grad_(requires_grad)
