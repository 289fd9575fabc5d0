"""The service as a Ray Serve application: each replica opens the runs and answers by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moekit import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

    from moekit.serve import ServeOptions

NAME = "moekit"
"""Of the application and of its deployment."""


def application(
    runs: Mapping[str, Path | str],
    *,
    options: ServeOptions,
    replicas: int = 2,
    cpus: float = 1.0,
    gpus: float = 0.0,
    corrections: Path | None = None,
    review_lists: Sequence[Path] = (),
    **how: Any,
) -> Application:
    """The application, for `ray.serve.run`.

    Replicas share nothing but files, so a request may go to any of them. Runs, tokens and
    corrections must lie at these paths on each machine.

    Args:
        runs: Run folders by the names that requests call them, all of one backbone.
        options: Of each replica; its address and TLS are Ray's.
        replicas: How many.
        cpus: Processors of each, which its threads are bounded by.
        gpus: Graphics processors of each; a share if several are to share one.
        corrections: As of `moekit.serve.open_app`.
        review_lists: As of `moekit.serve.open_app`.
        how: `backend`, `device`, `weights`, `form` and `most_kits`, as of `moekit.serve.open_app`.

    Raises:
        UsageError: TLS is asked for, which Ray's own proxy does not do.
    """
    from ray import serve

    if options.tls_cert is not None:
        raise UsageError(
            "Ray's proxy does not speak TLS",
            whose="--tls-cert",
            fix="put a proxy with TLS before it, as docs/SERVE.md shows",
            code="usage/option-conflict",
        )
    folders = {name: Path(folder).resolve() for name, folder in runs.items()}
    kept = None if corrections is None else corrections.resolve()
    lists = [path.resolve() for path in review_lists]
    threads = max(1, int(cpus))

    def build() -> FastAPI:
        import torch

        from moekit.serve import open_app

        torch.set_num_threads(threads)
        return open_app(folders, options=options, corrections=kept, review_lists=lists, **how)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        num_replicas=replicas,
        # What a replica cannot take at once it refuses itself, with 429 and Retry-After.
        max_ongoing_requests=2 * options.queue,
        graceful_shutdown_timeout_s=options.deadline_s,
        health_check_timeout_s=max(30.0, options.deadline_s),
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
    )
    return deployment.bind()
