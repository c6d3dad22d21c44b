"""A run on the Hugging Face hub: its last file with those for targets, the model card, report and recipe in one commit.

References:
    Repositories and model cards of the hub, huggingface.co/docs/hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfopt.errors import InputError, TfoptError
from tfopt.recipe.artifact import PAGE, RECIPE
from tfopt.report import summary
from tfopt.report.model_card import LICENSE
from tfopt.report.recipe_file import recipe_text
from tfopt.report.sections.recipe import FOLDERS

CARD_ON_HUB = "README.md"


def files_for_hub(folder: Path, license: str | None = None) -> dict[str, bytes]:
    """What is pushed of a run, by the names of the files on the hub, without the folders of this machine.

    Args:
        folder: The run's folder.
        license: The hub's name of the license, such as `apache-2.0`; `unknown` if not given.

    Raises:
        InputError: The folder has no results, or no `.tflite` among them.
    """
    folder = folder.resolve()
    artifacts = summary.collect(folder)
    card = summary.as_model_card(folder.name, artifacts)
    made = [row.stage for row in summary.rows(artifacts) if row.format == "tflite"]
    if card is None or not made:
        raise InputError(f"{folder} has no .tflite to push. Add quantize to its recipe and run it.")
    if license is not None:
        card = card.replace(LICENSE, f"license: {license}\n", 1)
    final = artifacts[made[-1]]
    files = {path.name: path.read_bytes() for path in (final.path, *final.device_files.values())}
    files[CARD_ON_HUB] = card.encode()
    files[PAGE] = summary.as_page(folder.name, artifacts).html().encode()
    if text := recipe_text(folder):
        files[RECIPE] = FOLDERS.sub("", text).encode()
    return files


def push(
    files: Mapping[str, bytes], repository: str, private: bool = False, message: str = "", endpoint: str | None = None
) -> str:
    """Puts files into a repository of models on the hub, in one commit; the repository is made where it is not there.

    Args:
        files: The files by their names on the hub.
        repository: Its name, such as `me/digits`.
        private: A repository that is made is seen by its owner alone.
        message: The message of the commit.
        endpoint: Address of the hub; `HF_ENDPOINT`, else huggingface.co, if not given.

    Returns:
        The address of the commit.

    Raises:
        InputError: The client of the hub is not installed, or the name is none.
        TfoptError: The hub refuses, or is not reached.
    """
    check_repository(repository)
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint, library_name="tfopt")
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    with _refusals(repository):
        whole = api.create_repo(repository, private=private or None, exist_ok=True).repo_id
        made = api.create_commit(whole, operations, commit_message=message or "Made by tfopt")
    return str(made.commit_url)


def check_repository(repository: str) -> None:
    """Refuses what is not the name of a repository, before anything is asked of the hub.

    Raises:
        InputError: The client of the hub is not installed, or the name is none.
    """
    try:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id
    except ImportError:
        raise InputError("pushing needs the client of the hub: pip install 'tfopt[hf]'.") from None
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"a repository is named like me/digits: {why}. Received: {repository}.") from None


@contextmanager
def _refusals(repository: str) -> Iterator[None]:
    """Turns errors of the client into a line each."""
    from huggingface_hub.errors import HTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError:
        raise TfoptError("the hub does not know who you are. Log in with hf auth login, or set HF_TOKEN.") from None
    except (HTTPError, OSError) as error:
        response: Any = getattr(error, "response", None)
        code = getattr(response, "status_code", None)
        said = getattr(error, "server_message", None) or next(iter(str(error).splitlines()), type(error).__name__)
        way = " Log in with hf auth login, or set HF_TOKEN, of who may write there." if code in (401, 403) else ""
        status = f" ({code})" if code else ""
        raise TfoptError(f"the hub does not take {repository}{status}: {said.strip().rstrip('.')}.{way}") from error
