"""What users of Docker's Python SDK do all day, against the engine at DOCKER_HOST.

Each function is a check of its own and leaves nothing behind. The image `busybox` must be there.
"""

import io
import sys
import tarfile
import threading
import time

import docker
from docker.types import Healthcheck, Mount

IMAGE = "busybox"
PATIENCE = 60

client = docker.from_env()


def until(what, ask):
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return answer


class Container:
    """A container that is gone when its block ends."""

    def __init__(self, command=None, create=False, **options):
        make = client.containers.create if create else client.containers.run
        if not create:
            options["detach"] = True
        self.container = make(IMAGE, command or ["sleep", "1000"], **options)

    def __enter__(self):
        return self.container

    def __exit__(self, *_):
        self.container.remove(force=True, v=True)


def archive(**files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, (content, owner) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid, entry.gid, entry.mode = len(content), owner, owner, 0o640
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def run_gives_output():
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    both = client.containers.run(IMAGE, ["sh", "-c", "echo out; echo err >&2"], stderr=True, remove=True)
    assert sorted(both.splitlines()) == [b"err", b"out"]


def run_tells_failures():
    try:
        client.containers.run(IMAGE, ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    except docker.errors.ContainerError as error:
        assert error.exit_status == 3 and error.stderr == b"why\n", error
    else:
        raise AssertionError("exit code 3 is an error")
    try:
        client.containers.run(IMAGE, ["no-such-program"], remove=True)
    except docker.errors.APIError as error:
        assert "executable file not found" in error.explanation, error.explanation
    else:
        raise AssertionError("a missing program is an error")
    try:
        client.containers.get("nobody")
    except docker.errors.NotFound as error:
        assert error.explanation == "No such container: nobody"
    else:
        raise AssertionError("a missing container is an error")


def first_output_is_not_lost():
    # The SDK reads the socket of an exec below the HTTP library, which may have read more than the head by then.
    with Container() as container:
        for number in range(50):
            code, output = container.exec_run(["echo", str(number)])
            assert (code, output) == (0, f"{number}\n".encode())
            code, output = container.exec_run(["no-such-program"])
            assert code == 127 and b"executable file not found" in output, (code, output)


def exec_streams():
    script = ["sh", "-c", "echo out; echo err >&2; exit 4"]
    with Container() as container:
        code, (out, err) = container.exec_run(script, demux=True)
        assert (code, out, err) == (4, b"out\n", b"err\n")
        code, output = container.exec_run(script, tty=True)
        assert (code, output) == (4, b"out\r\nerr\r\n")
        _, parts = container.exec_run(["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], stream=True)
        assert b"".join(parts) == b"1\n2\n3\n"
        code, output = container.exec_run(["sh", "-c", 'echo "$A $PWD $(id -u)"'],
                                          environment={"A": "b"}, workdir="/tmp", user="7")
        assert (code, output) == (0, b"b /tmp 7\n")


def exec_input():
    with Container() as container:
        ident = client.api.exec_create(container.id, ["sh", "-c", "cat; exit 5"], stdin=True)["Id"]
        stream = client.api.exec_start(ident, socket=True)
        stream._sock.sendall(b"typed\n")
        stream._sock.shutdown(1)
        frames = b"".join(part for _, part in docker.utils.socket.frames_iter(stream, tty=False))
        assert frames == b"typed\n", frames
        state = until("the end of the exec", lambda: not (s := client.api.exec_inspect(ident))["Running"] and s)
        assert state["ExitCode"] == 5


def attach_with_input():
    with Container(["cat"], create=True, stdin_open=True) as container:
        stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        stream._sock.sendall(b"one\ntwo\n")
        stream._sock.shutdown(1)
        got = b"".join(part for _, part in docker.utils.socket.frames_iter(stream, tty=False))
        # The input of `stdin_open` stays open for the next client; only this attachment ends.
        assert got in (b"", b"one\ntwo\n"), got
        until("the log", lambda: container.logs() == b"one\ntwo\n")


def attach_to_what_has_ended():
    with Container(["echo", "hello"]) as container:
        container.wait()
        assert container.attach(logs=True, stream=False) == b"hello\n"


def logs():
    with Container(["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"]) as container:
        assert list(container.logs(stream=True, follow=True)) == [b"1\n", b"2\n", b"3\n"]
        assert container.logs(tail=1) == b"3\n"
        stamped = container.logs(timestamps=True).splitlines()
        assert len(stamped) == 3 and stamped[0].endswith(b"Z 1"), stamped
    with Container(["sh", "-c", "echo up; sleep 1000"]) as container:
        follow = container.logs(stream=True, follow=True)
        assert next(follow) == b"up\n"
        follow.close()


def wait_conditions():
    with Container(["sh", "-c", "exit 7"], create=True) as container:
        results = {}
        waiting = threading.Thread(target=lambda: results.update(container.wait(condition="next-exit")))
        waiting.start()
        # Nothing tells when the engine has heard of the question: the next end may be a later one.
        deadline = time.monotonic() + PATIENCE
        while waiting.is_alive() and time.monotonic() < deadline:
            container.start()
            waiting.join(0.2)
        assert results["StatusCode"] == 7, results
        assert container.wait()["StatusCode"] == 7
    container = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, auto_remove=True)
    # As `wait` asks; the head of the answer says that the engine has heard of it.
    asked = client.api._url("/containers/{0}/wait", container.id)
    answer = client.api._post(asked, params={"condition": "removed"}, stream=True)
    container.kill()
    assert answer.json()["StatusCode"] == 137


def archives():
    with Container(create=True) as container:
        assert container.put_archive("/tmp", archive(note=(b"text", 12)))
        parts, stat = container.get_archive("/tmp/note")
        assert stat["name"] == "note" and stat["size"] == 4, stat
        with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
            entry = tar.getmember("note")
            assert (entry.uid, entry.mode & 0o777) == (12, 0o640), entry
            assert tar.extractfile(entry).read() == b"text"
        try:
            container.get_archive("/nothing")
        except docker.errors.NotFound:
            pass
        else:
            raise AssertionError("a missing file is an error")


def stats_and_top():
    with Container() as container:
        samples = container.stats(decode=True)
        for _ in range(2):
            sample = next(samples)
            assert sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0, sample
        samples.close()
        assert container.stats(stream=False)["pids_stats"]["current"] == 1
        assert "sleep 1000" in container.top()["Processes"][0]


def events():
    seen = client.events(decode=True, filters={"type": "container", "label": "sdk=events"})
    with Container(["true"], labels={"sdk": "events"}) as container:
        container.wait()
    actions = [event["Action"] for _, event in zip(range(4), seen)]
    seen.close()
    assert actions == ["create", "start", "die", "destroy"], actions


def networks():
    network = client.networks.create("sdk-net", labels={"sdk": "1"})
    try:
        with Container(network="sdk-net", name="sdk-server"):
            found = client.containers.run(IMAGE, ["nslookup", "sdk-server"], network="sdk-net", remove=True)
            assert b"sdk-server" in found
            with Container() as other:
                network.connect(other, aliases=["second"])
                other.reload()
                assert "second" in other.attrs["NetworkSettings"]["Networks"]["sdk-net"]["Aliases"]
                network.disconnect(other)
            network.reload()
            assert [container.name for container in network.containers] == ["sdk-server"]
    finally:
        network.remove()


def ports():
    with Container(["sh", "-c", "nc -lp 80"], ports={"80/tcp": None}) as container:
        def host_port():
            container.reload()
            return container.ports.get("80/tcp")
        assert int(until("the port", host_port)[0]["HostPort"]) > 0


def volumes():
    volume = client.volumes.create("sdk-volume", labels={"sdk": "1"})
    try:
        mounts = [Mount("/data", "sdk-volume")]
        client.containers.run(IMAGE, ["sh", "-c", "echo kept > /data/file"], mounts=mounts, remove=True)
        bound = {"sdk-volume": {"bind": "/data", "mode": "ro"}}
        assert client.containers.run(IMAGE, ["cat", "/data/file"], volumes=bound, remove=True) == b"kept\n"
        assert [v.name for v in client.volumes.list(filters={"label": "sdk=1"})] == ["sdk-volume"]
    finally:
        volume.remove()


def health():
    check = Healthcheck(test=["CMD", "test", "-e", "/tmp/fine"], interval=200_000_000, retries=1)
    with Container(healthcheck=check) as container:
        def health_is(wanted):
            container.reload()
            return container.health == wanted
        until("an unhealthy container", lambda: health_is("unhealthy"))
        assert container.exec_run(["touch", "/tmp/fine"]).exit_code == 0
        until("a healthy container", lambda: health_is("healthy"))


def life():
    with Container(name="sdk-life", restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}) as container:
        container.pause()
        container.reload()
        assert container.status == "paused"
        container.unpause()
        container.rename("sdk-renamed")
        container.update(mem_limit="64m", memswap_limit="64m")
        container.stop(timeout=0)
        container.reload()
        assert (container.status, container.name) == ("exited", "sdk-renamed")
        assert container.attrs["HostConfig"]["Memory"] == 64 << 20
        container.restart(timeout=0)
        container.reload()
        assert container.status == "running"
        assert container.name in [c.name for c in client.containers.list(filters={"name": "sdk-"})]


def images():
    with Container(["touch", "/made"]) as container:
        container.wait()
        assert {"Path": "/made", "Kind": 1} in container.diff()
        made = container.commit("sdk-made", tag="1", changes="CMD ls /made")
    try:
        assert client.containers.run("sdk-made:1", remove=True) == b"/made\n"
        saved = b"".join(made.save(named=False))
        named = b"".join(made.save(named="sdk-made:1"))
        for packed, tags in [(saved, []), (named, ["sdk-made:1"])]:
            client.images.remove("sdk-made:1" if client.images.list("sdk-made") else made.id)
            [loaded] = client.images.load(packed)
            assert (loaded.id, loaded.tags) == (made.id, tags), (loaded.id, loaded.tags)
        assert made.history()[0]["Size"] >= 0
        assert made.tag("sdk-other", "2") and client.images.get("sdk-other:2").id == made.id
        client.images.remove("sdk-other:2")
    finally:
        client.images.remove(made.id, force=True)


def prune():
    with Container(["true"], labels={"sdk": "prune"}) as ended:
        ended.wait()
        deleted = client.containers.prune(filters={"label": "sdk=prune"})["ContainersDeleted"]
        assert deleted == [ended.id], deleted
        client.networks.create("sdk-unused", labels={"sdk": "prune"})
        pruned = client.networks.prune(filters={"label": "sdk=prune"})
        assert pruned["NetworksDeleted"] == ["sdk-unused"], pruned
        client.volumes.create("sdk-unused", labels={"sdk": "prune"})
        pruned = client.volumes.prune(filters={"label": "sdk=prune", "all": True})
        assert pruned["VolumesDeleted"] == ["sdk-unused"], pruned
        # Its block removes it again.
        ended.remove = lambda **_: None


def engine():
    assert client.ping()
    assert client.version()["ApiVersion"]
    assert client.info()["ServerVersion"]
    assert client.df()["Images"]


CHECKS = [engine, run_gives_output, run_tells_failures, first_output_is_not_lost, exec_streams, exec_input,
          attach_with_input, attach_to_what_has_ended, logs, wait_conditions, archives, stats_and_top, events,
          networks, ports, volumes, health, life, images, prune]

if __name__ == "__main__":
    chosen = [check for check in CHECKS if not sys.argv[1:] or check.__name__ in sys.argv[1:]]
    for check in chosen:
        print(check.__name__, flush=True)
        check()
    print(f"{len(chosen)} checks passed")
