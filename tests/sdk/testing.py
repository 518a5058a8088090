"""What test suites do by Testcontainers for Python, against the engine at DOCKER_HOST.

To be run where the engine's published ports are. The image `busybox` must be there, and one for the reaper. The last
check leaves things behind: they are to be gone soon after this program.
"""

import os
import time
import urllib.request

import docker
from testcontainers.core.container import DockerContainer
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

IMAGE = "busybox"
SERVE = ["sh", "-c", "mkdir /w; echo $GREETING > /w/index.html; echo serving; exec httpd -f -p 8080 -h /w"]


def server():
    made = DockerContainer(IMAGE).with_command(SERVE).with_env("GREETING", "hello").with_exposed_ports(8080)
    return made.waiting_for(LogMessageWaitStrategy("serving"))


def fetch(container):
    address = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8080)}/"
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read()


def fetched(container):
    try:
        return fetch(container)
    except OSError:
        return None


def until(what, ask):
    deadline = time.monotonic() + 60
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return answer


def a_service_is_reached_by_its_mapped_port():
    with server() as service:
        assert until("the service", lambda: fetched(service)) == b"hello\n"
        assert b"serving" in service.get_logs()[0]
        code, output = service.exec(["cat", "/w/index.html"])
        assert (code, output) == (0, b"hello\n")


def services_find_each_other_by_name():
    with Network() as network:
        with server().with_network(network).with_network_aliases("api") as service:
            client = DockerContainer(IMAGE).with_command(["sleep", "1000"]).with_network(network)
            with client:
                wrapped = service.get_wrapped_container()
                wrapped.reload()
                address = wrapped.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
                code, output = client.exec(["nslookup", "api"])
                assert code == 0 and f"Address: {address}".encode() in output, output
                fetch_inside = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 8080"
                # It says that it serves before it does.
                until("the page", lambda: client.exec(["sh", "-c", fetch_inside]).output.endswith(b"hello\n"))


def files_are_mounted():
    path = os.path.join(os.environ["SDK_DIRECTORY"], "greeting")
    with open(path, "w") as file:
        file.write("from outside\n")
    reader = DockerContainer(IMAGE).with_command(["sleep", "1000"])
    with reader.with_volume_mapping(path, "/greeting", "ro") as container:
        assert container.exec(["cat", "/greeting"]) == (0, b"from outside\n")


def something_is_left_to_the_reaper():
    client = docker.from_env()
    mark = {LABEL_SESSION_ID: SESSION_ID}
    network = client.networks.create("left", labels=mark)
    volume = client.volumes.create("left", labels=mark)
    left = DockerContainer(IMAGE).with_command(["sleep", "1000"]).with_volume_mapping(volume.name, "/left")
    left.with_kwargs(network=network.name).start()
    found = client.containers.list(filters={"label": f"{LABEL_SESSION_ID}={SESSION_ID}"})
    assert left.get_wrapped_container().id in [container.id for container in found]


CHECKS = [
    a_service_is_reached_by_its_mapped_port,
    services_find_each_other_by_name,
    files_are_mounted,
    something_is_left_to_the_reaper,
]

if __name__ == "__main__":
    for check in CHECKS:
        print(check.__name__, flush=True)
        check()
    print(f"{len(CHECKS)} checks passed", flush=True)
    # A program that ends in order stops its reaper first.
    os._exit(0)
