"""A shim of the first version of the protocol, as a new engine meets it.

Stands between the engine and a real shim, at the shim's own socket, and lets through only what the first version knew:
requests lose the fields that were added since, answers and events, too. What came after it is unknown to the engine as it
would be of a shim that was started by an early build; the container behind it is a real one.

usage: old_shim.py RUNTIME_DIRECTORY    (shim.sock there has been renamed to new.sock)
"""

import array
import json
import os
import socket
import struct
import sys
import threading

MAX_DESCRIPTORS = 253

# The first version, field by field. A list is a choice of fields, True anything.
EXIT = {"code": True, "oom_killed": True, "started_at": True, "finished_at": True, "error": True}
PROBE = {"start": True, "end": True, "exit_code": True, "output": True}
FAILURE = {"kind": True, "message": True, "causes": True}
ATTACHMENT = {
    key: True
    for key in ["stdin", "stdout", "stderr", "multiplexed", "detach_keys", "preface", "unread", "replay", "live"]
}
PHASE = {
    "running": {"pid": True, "started_at": True, "paused": True},
    "restarting": {"exit": EXIT},
    "exited": {"exit": EXIT},
}
HEALTH = {"status": True, "failing_streak": True, "log": True}
REQUESTS = {
    "subscribe": {"after": True},
    "attach": ATTACHMENT,
    "wait": {"until": True, "preface": True},
    "logs": {
        "query": {
            key: True
            for key in ["stdout", "stderr", "since", "until", "tail", "follow", "timestamps", "details", "multiplexed"]
        },
        "preface": True,
    },
    "exec": {"id": True, "process": True, "stdin": True, "attachment": ATTACHMENT},
    "resize_container": {"height": True, "width": True},
    "resize_exec": {"id": True, "height": True, "width": True},
    "signal": {"signal": True, "final_stop": True},
    "stop": {"signal": True, "timeout": True},
    "update": {"resources": True, "restart": True},
    "names": True,
    "release": {"removed": True},
}
REPLIES = {
    "state": {
        "version": True,
        "container": True,
        "incarnation": True,
        "shim_pid": True,
        "phase": PHASE,
        "restart_count": True,
        "sequence": True,
        "execs": True,
        "health": HEALTH,
        "log_lost": True,
    },
    "exec_started": {"pid": True},
    "failed": FAILURE,
}
EVENTS = {
    "incarnation": True,
    "sequence": True,
    "time": True,
    "what": {
        "started": {"pid": True, "restart_count": True},
        "exited": {"exit": EXIT, "restarts": True, "delay_ms": True},
        "killed": {"signal": True},
        "detached": {"exec": True},
        "exec_started": {"exec": True, "pid": True},
        "exec_exited": {"exec": True, "code": True},
        "health_started": {"result": True},
        "health_probed": {"status": True, "failing_streak": True, "probe": PROBE},
        "log_lost": {"records": True, "bytes": True, "error": True},
    },
}


def first(reply):
    """A reply that speaks of the first version only."""
    if isinstance(reply, dict) and "state" in reply:
        reply["state"]["version"] = 1
    return reply


def known(value, shape):
    """The part of a document that the first version knew."""
    if shape is True or not isinstance(value, dict):
        return value
    return {key: known(inner, shape[key]) for key, inner in value.items() if key in shape}


def receive(connection):
    """A frame's document and its descriptors; nothing at the end."""
    header, descriptors = b"", []
    while len(header) < 8:
        more, passed, _, _ = socket.recv_fds(connection, 8 - len(header), MAX_DESCRIPTORS)
        descriptors += passed
        if not more:
            return None
        header += more
    length, _, _ = struct.unpack("<IHH", header)
    payload = b""
    while len(payload) < length:
        more, passed, _, _ = socket.recv_fds(connection, length - len(payload), MAX_DESCRIPTORS)
        descriptors += passed
        if not more:
            return None
        payload += more
    return json.loads(payload), descriptors


def send(connection, document, descriptors):
    payload = json.dumps(document).encode()
    frame = struct.pack("<IHH", len(payload), len(descriptors), 0) + payload
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sent = connection.sendmsg([frame], rights)
    connection.sendall(frame[sent:])
    for descriptor in descriptors:
        os.close(descriptor)


def forward(source, target, shape_of):
    """Until one of them closes."""
    try:
        while frame := receive(source):
            document, descriptors = frame
            send(target, first(known(document, shape_of(document))), descriptors)
    except OSError:
        pass
    for end, how in [(target, socket.SHUT_WR), (source, socket.SHUT_RD)]:
        try:
            end.shutdown(how)
        except OSError:
            pass


def serve(engine):
    shim = socket.socket(socket.AF_UNIX)
    shim.connect("new.sock")
    down = threading.Thread(target=forward, args=(shim, engine, lambda one: EVENTS if "what" in one else REPLIES))
    down.start()
    forward(engine, shim, lambda one: REQUESTS)
    down.join()


def main():
    # Addresses of sockets are short.
    os.chdir(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("shim.sock")
    listener.listen()
    print("ready", flush=True)
    while True:
        engine, _ = listener.accept()
        threading.Thread(target=serve, args=(engine,), daemon=True).start()


main()
