"""`python -m jobs.dashboard`: a study in the browser, during the search or afterwards."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import CliPositionalArg

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.local_server import HOST, serving, stop_signals
from jobs.arguments import main

if TYPE_CHECKING:
    from hcvae.storage import StoragePath
    from tune.study.folder import StudyFolder


class DashboardCommand(command_line.Command):
    """Serve Optuna's dashboard of a study, with the figures of its trials, and TensorBoard of its trainings, to
    browsers on this machine, until Ctrl-C.

    examples:
      python -m jobs.dashboard results/quickstart
      python -m jobs.dashboard results/quickstart --port 8080 --tensorboard-port 6006
    """

    study: CliPositionalArg[str]
    """Folder of the study, a path or a URI."""
    port: int = Field(0, ge=0, le=65535)
    """Port of the dashboard; 0 chooses a free one."""
    tensorboard_port: int = Field(0, ge=0, le=65535)
    """Port of TensorBoard; 0 chooses a free one."""


def run(arguments: Sequence[str]) -> int:
    """Serve both, print their addresses, and end on Ctrl-C or SIGTERM."""
    command = command_line.parse(DashboardCommand, arguments)
    from tune.study.folder import StudyFolder

    folder = StudyFolder(command.study)
    with _dashboard(folder, command.port) as dashboard, _trainings(folder) as trainings:
        tensorboard = _start_tensorboard(trainings, command.tensorboard_port)
        with stop_signals() as stopped:
            print(f"study      {dashboard}\ntrainings  {tensorboard}\nCtrl-C ends both", flush=True)
            stopped.wait()
    return 0


@contextmanager
def _dashboard(folder: "StudyFolder", port: int) -> Iterator[str]:
    """Serve Optuna's dashboard from a thread of this process: no command line shows the address of its storage."""
    from optuna_dashboard import wsgi

    from tune.internals.optuna_internals import storage_of, study_key
    from tune.study.artifacts import ArtifactStore

    study = folder.load()
    app = wsgi(storage_of(study), artifact_store=ArtifactStore(folder.artifacts))
    with serving(app, port) as address:
        yield f"{address}/dashboard/studies/{study_key(study)}"


@contextmanager
def _trainings(folder: "StudyFolder") -> Iterator[Path]:
    """Yield the folder of the trainings' events; of an object store, a copy of the present state."""
    if folder.place.is_local:
        yield folder.path
        return
    with tempfile.TemporaryDirectory(prefix="hcvae-dashboard-") as temporary:
        for events in _events_of(folder):
            if events.is_complete():
                events.fetch(Path(temporary, *events.key.split("/")[-4:]))
        yield Path(temporary)


def _events_of(folder: "StudyFolder") -> "Iterator[StoragePath]":
    """Yield the folders of events; earlier versions wrote them into those of the attempts."""
    from tune.study.folder import TENSORBOARD

    for name in folder.tensorboard.listdir():
        yield folder.tensorboard / name
    for number in folder.trials.listdir():
        trial = folder.trials / number
        for attempt in trial.listdir():
            yield trial / attempt / TENSORBOARD


def _start_tensorboard(trainings: Path, port: int) -> str:
    """Start TensorBoard in threads that end with this process; return its address."""
    from tensorboard import default, program

    tensorboard = program.TensorBoard(plugins=default.get_plugins())
    tensorboard.configure(logdir=str(trainings), host=HOST, port=port)
    try:
        return str(tensorboard.launch())
    except program.TensorBoardServerException as error:
        raise UserError(f"--tensorboard-port: {error}; name another, or none") from None


if __name__ == "__main__":
    sys.exit(main(run))
