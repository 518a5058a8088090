"""Asks published ports for a page without end; started in the network namespace of a test host.

Arguments are the ports. Prints nothing but failures; at the end of standard input the number of pages it got.
Connections are tried once: a refused one is a failed request.
"""

import http.client
import sys
import threading
import time

stop = threading.Event()
lock = threading.Lock()
done = 0


def ask(port, address):
    connection = http.client.HTTPConnection(address, port, timeout=20)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        return None if (answer.status, body) == (200, b"hello from inside\n") else f"{answer.status} {body!r}"
    except OSError as error:
        return repr(error)
    except http.client.HTTPException as error:
        return repr(error)
    finally:
        connection.close()


def worker(ports, address):
    global done
    while not stop.is_set():
        for port in ports:
            began = time.time()
            wrong = ask(port, address)
            with lock:
                done += 1
                if wrong:
                    print(f"{began:.3f} port {port} of {address}: {wrong}", flush=True)
            # A load, not a race for the processor with what is under test.
            stop.wait(0.01)


ports = [int(word) for word in sys.argv[1:]]
threads = [threading.Thread(target=worker, args=(ports, address)) for address in ("127.0.0.1", "::1")]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print(f"requests {done}", flush=True)
