# Logs, attach, exec, signals.
docker run --name s1 busybox sh -c 'echo out; echo err >&2; echo out2; printf partial'
docker logs s1
docker logs s1 2>/dev/null
docker logs --tail 1 s1
docker logs --tail 0 s1
docker logs --tail all s1 2>/dev/null
docker logs --tail abc s1
docker logs --tail -5 s1 2>/dev/null
docker logs -t s1 2>/dev/null
docker logs --since abc s1
docker logs --until abc s1
docker logs --since 1h s1 2>/dev/null
docker logs --since 2099-01-01 s1
docker logs --until 2001-01-01 s1
docker logs --details s1 2>/dev/null
docker logs -f s1 2>/dev/null
docker logs
docker logs a b
docker run --name s2 --log-driver none busybox echo hi
docker logs s2
docker run --name s2b --log-driver nonsense busybox echo hi
docker run --rm --log-opt nonsense=1 busybox echo hi
docker run --rm --log-opt max-size=abc busybox echo hi
docker run --rm --log-opt max-file=0 busybox echo hi
docker run --rm --log-opt max-file=2 busybox echo hi
docker run --rm --log-opt mode=nonsense busybox echo hi
docker run --name s3 --log-opt labels=foo --log-opt env=BAR --log-opt tag='{{.Name}}' -l foo=x -e BAR=y busybox echo hi
docker logs --details s3
docker run -a stdout busybox sh -c 'echo a; echo b >&2'
docker run -a stderr busybox sh -c 'echo a; echo b >&2'
docker run -a nonsense busybox true
docker run -d -a stdout busybox true
echo hello | docker run -i --rm busybox cat
echo hello | docker run --rm busybox cat
echo hello | docker run -it --rm busybox cat
docker run -t --rm busybox sh -c 'tty; stty size'
docker run -t --rm busybox sh -c 'echo a; echo b >&2'
docker run -d --name s4 -i busybox cat
docker logs s4
docker attach nobody
docker kill s4 >/dev/null; docker wait s4 nobody
docker rm -f s1 s2 s3 s4
docker run -d --name e1 -e FOO=bar busybox sleep 1000
docker exec e1 sh -c 'exit 7'
docker exec e1 sh -c 'kill -9 $$'
docker exec e1 sh -c 'echo a; echo b >&2'
echo data | docker exec -i e1 cat
echo data | docker exec e1 cat
echo data | docker exec -it e1 cat
docker exec -t e1 sh -c 'tty'
docker exec -d e1 touch /made
docker exec -d e1 absent
docker exec e1 ls /made
docker exec -u nobody e1 id
docker exec -u 5:6 e1 id
docker exec -u :6 e1 id
docker exec -u nobody:nonsense e1 id
docker exec -w /etc e1 pwd
docker exec -e X=1 -e FOO e1 env
docker exec --env-file /absent e1 env
docker exec --privileged e1 grep CapEff /proc/self/status
docker exec e1 grep Cap /proc/self/status
docker exec e1
docker exec
docker exec e1 /etc/passwd
docker exec --detach-keys nonsense-x e1 true
docker top e1 | awk '{print $NF}'
docker top e1 -o pid,cmd | awk '{print $2,$3}'
docker top e1 -o cmd
docker top nobody
docker kill -s 0 e1
docker kill -s SIGFOO e1
docker kill -s TERM nobody
docker kill -s 99 e1
docker kill -s HUP e1
docker pause e1; docker ps --format '{{.Names}} {{.State}} {{.Status}}' | sed 's/Up .* (/Up (/'
docker stop e1 -t 1
docker inspect -f '{{.State.ExitCode}} {{.State.Status}}' e1
docker exec e1 true
docker top e1
docker pause e1
docker unpause e1
docker kill e1
docker stop e1
docker start -a e1 nobody
docker start -a nobody
docker start nobody1 nobody2
docker restart -t 0 e1
docker restart nobody
docker stop -t abc e1
docker stop -s NONSENSE e1
docker rm -f e1 nobody
docker run --rm busybox sh -c 'kill -TERM $$'
docker run --rm busybox sh -c 'kill -KILL $$'
docker run --rm --init busybox sh -c 'exit 3'
docker run --rm --stop-signal NONSENSE busybox true
docker run --rm --detach-keys ctrl-x,x busybox true
docker run -d --rm busybox true && sleep 1; docker ps -aq --filter exited=0 --filter name=zzzz
