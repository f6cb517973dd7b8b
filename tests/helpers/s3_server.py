"""An S3 server on loopback, and stores by the URLs that tests of runs elsewhere use."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["s3_server"]


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of an empty bucket of a server that this process, and those that it starts, take for the cloud while the block runs."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    cloud = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "of-a-test",
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in cloud.items():
                patch.setenv(name, value)
            import fsspec

            fs = fsspec.filesystem("s3", skip_instance_cache=True)
            fs.mkdir(bucket := f"s3://runs-{uuid.uuid4().hex[:8]}")  # all servers of a process have the same content
            yield bucket
            type(fs).clear_instance_cache()
    finally:
        server.stop()
