# Volumes, mounts, health, restart policies, limits, copies, events, and options that are refused.
docker volume create --label a=b --opt type=tmpfs --opt device=tmpfs --opt o=size=1m v1
docker volume inspect v1 | jq -c '.[0]|del(.CreatedAt,.Mountpoint)'
docker volume create v1
docker volume create --driver local --opt nonsense=1 v2
docker volume create --opt type=nfs v2
docker volume create --opt o=size=1 v2
docker volume create --opt type=none --opt o=bind --opt device=/absent v3
docker run --rm -v v1:/x busybox sh -c 'df -k /x | tail -1 | cut -d" " -f1; mount | grep " /x " | cut -d" " -f5'
docker volume rm v3
docker volume create 'a/b'
docker volume create .a
docker volume create --label novalue v4; docker volume inspect -f '{{json .Labels}}' v4
docker volume ls --filter label=a --format '{{.Name}}'
docker volume ls --filter name=v --format '{{.Name}}'
docker volume ls --filter driver=local -q
docker volume ls --filter dangling=false -q
docker volume ls --filter dangling=abc
docker volume ls --format '{{json .}}' | jq -c 'del(.Mountpoint)'
docker volume inspect v1 absent -f '{{.Name}}'
docker run -d --name u1 -v v4:/data -v /anon busybox sleep 1000
docker volume rm v4
docker volume rm v4 absent v1
docker volume rm -f absent
docker run --rm --volumes-from u1:ro busybox touch /data/x
docker run --rm --volumes-from u1:zz busybox true
docker run --rm --volumes-from nobody busybox true
docker run --rm --volumes-from '' busybox true
docker run --rm -v v4:/data:ro,nonsense busybox true
docker run --rm -v v4:/data:nocopy busybox true
docker run --rm -v /a:/b:/c:/d busybox true
docker run --rm -v :/b busybox true
docker run --rm -v '' busybox true
docker run --rm -v /tmp:/b:z busybox true
docker run --rm -v v4:/data -v v4:/data busybox true
docker run --rm --mount type=volume,source=v4,target=/data,readonly busybox touch /data/x
docker run --rm --mount type=volume,src=v4,dst=/data,volume-subpath=../x busybox true
docker run --rm --mount type=bind,src=relative,dst=/x busybox true
docker run --rm --mount type=bind,dst=/x busybox true
docker run --rm --mount type=tmpfs,dst=/x,src=y busybox true
docker run --rm --mount type=tmpfs,dst=/x,tmpfs-mode=700,tmpfs-size=1m busybox sh -c 'stat -c %a /x'
docker run --rm --mount nonsense busybox true
docker run --rm --mount type=bind,src=/etc,dst=/x,nonsense=1 busybox true
docker run --rm --mount type=bind,src=/etc,dst=/x,bind-propagation=nonsense busybox true
docker run --rm --mount type=bind,src=/etc,dst=/ busybox true
docker run --rm --tmpfs relative busybox true
docker run --rm --tmpfs /a --tmpfs /a busybox true
docker rm -fv u1
docker volume ls -q
docker run -d --name h1 --health-cmd 'exit 1' --health-interval 300ms --health-retries 1 busybox sleep 100
sleep 1.5; docker ps --format '{{.Status}}' | sed 's/Up .* (/Up (/'
docker ps --filter health=unhealthy --format '{{.Names}}'
docker ps --filter health=healthy --format '{{.Names}}'
docker inspect -f '{{json .Config.Healthcheck}}' h1
docker rm -f h1
docker run --rm --health-cmd x --no-healthcheck busybox true
docker run --rm --health-interval 1us busybox true
docker run --rm --health-retries -1 busybox true
docker run -d --name r1 --restart on-failure:2 busybox false; sleep 2; docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy}}' r1
docker run -d --name r2 --restart always busybox sleep 100; docker kill r2; docker inspect -f '{{.State.Status}}' r2; docker ps -a --filter name=r2 --format '{{.Status}}' | cut -c1-6
docker update --restart nonsense r2
docker update --restart no r2
docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' r2
docker update r2
{ docker update --memory 64m r2; } >/dev/null 2>&1; true
docker update --memory 64m --memory-swap 128m r2
docker update --cpus 0.5 --cpu-shares 100 --pids-limit 50 --memory-reservation 10m r2
docker inspect r2 | jq -c '.[0].HostConfig|[.Memory,.MemorySwap,.NanoCpus,.CpuShares,.PidsLimit,.MemoryReservation]'
docker update --cpus 1000 r2
docker update --cpuset-cpus 99 r2
docker update --memory 1g --memory-swap 100m r2
docker update --cpus 1 nobody
docker rm -f r1 r2
docker run -d --name w1 busybox sh -c 'sleep 1; exit 3'; docker wait w1
docker wait w1
docker wait nobody
docker inspect -f '{{.State.ExitCode}}' w1
docker ps -a --filter exited=3 --format '{{.Names}}'
docker ps -a --filter status=exited --format '{{.Names}} {{.Status}}' | sed 's/ [^ ]* [a-z]* ago//;s/ About.*//;s/ Less.*//'
docker ps -a --filter since=nobody
docker ps -a --filter before=nobody
docker ps -a --filter name=^/w1$ --format '{{.Names}}'
docker ps -a --filter label=x
docker ps -a --filter network=nope
docker ps -a --filter volume=nope -q
docker ps -a --filter publish=abc
docker ps -a --filter expose=abc
docker ps -a --filter is-task=abc
docker ps -a --filter health=nope
docker ps -n abc
docker ps -a --format 'table {{.Names}}\t{{.State}}'
docker ps -a --format json | jq -c 'keys'
docker ps nonsense
docker cp w1:/etc/passwd ./p; head -1 ./p
docker cp w1:/etc/passwd - | tar tv | awk '{print $1,$2,$6}'
docker cp w1:/etc ./etcd; ls ./etcd | sort | head -3
{ docker cp ./p w1:/absent/dir/; } >/dev/null 2>&1; true
docker cp ./p w1:/absent/dir/x
docker cp ./p w1:/tmp/; docker cp w1:/tmp/p - | tar t
docker cp /absent w1:/tmp
docker cp w1:/absent /tmp
docker cp nobody:/x /tmp
docker cp /x nobody:/tmp
docker cp w1:/a w1:/b
docker cp /a /b
{ docker cp w1:/etc/passwd/ ./q; } >/dev/null 2>&1; true
docker cp w1:/etc ./p
docker cp ./p w1:/etc
docker cp -a -q ./p w1:/tmp/q
tar c -C . p | docker cp - w1:/tmp/sub
tar c -C . p | docker cp - w1:/tmp; docker cp w1:/tmp - | tar t | sort
docker cp -L w1:/bin/ls - | tar tv | awk '{print $1,$6}'
docker rm w1
docker events --since abc
docker events --since 1h --until 1m --format '{{nonsense}}'
{ T=$(date +%s); docker network create evn >/dev/null; docker volume create evv >/dev/null; docker run --name ev --label a=b --network evn -v evv:/x busybox true; docker rm ev >/dev/null; docker network rm evn >/dev/null; docker volume rm evv >/dev/null; docker tag busybox evt:1; docker rmi evt:1 >/dev/null; sleep 1; docker events --since $T --until $(date +%s) --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'; } >/dev/null 2>&1; true
docker info --format '{{json .Runtimes}}' | jq -c keys
docker version --format '{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}/{{.Server.Arch}} {{.Server.Experimental}}'
docker stack ls
docker secret ls
docker config ls
docker plugin ls
docker container prune -f --filter until=abc
docker container prune -f --filter label!=x
docker system prune -af --volumes --filter nonsense=1
docker run --rm -m 4m busybox true
docker run --rm -m 6m busybox true
docker run --rm --memory-swappiness 101 busybox true
docker run --rm --memory-swappiness 10 busybox true
docker run --rm --oom-kill-disable busybox true
docker run --rm --kernel-memory 10m busybox true
docker run --rm --cpu-period 1 busybox true
docker run --rm --cpu-quota 1 busybox true
docker run --rm --cpus 0.5 --cpu-period 1000 busybox true
docker run --rm --cpuset-cpus x busybox true
docker run --rm --cpuset-mems 9 busybox true
docker run --rm --blkio-weight 5 busybox true
docker run --rm --blkio-weight 500 busybox true
docker run --rm --device /dev/null:/dev/x:zz busybox true
docker run --rm --gpus all busybox true
docker run --rm --pid nonsense busybox true
docker run --rm --ipc nonsense busybox true
docker run --rm --uts nonsense busybox true
docker run --rm --userns nonsense busybox true
docker run --rm --cgroupns nonsense busybox true
docker run --rm --isolation hyperv busybox true
docker run --rm --runtime nonsense busybox true
docker run --rm --shm-size -1 busybox true
docker run --rm --shm-size 0 busybox true
docker run --rm --oom-score-adj 5000 busybox true
docker run --rm --ulimit nofile=20:10 busybox true
docker run --rm --ulimit nonsense busybox true
docker run --rm --add-host bad busybox true
docker run --rm --add-host a:bad busybox true
docker run --rm --dns bad busybox true
docker run --rm --link a:b:c:d busybox true
docker run --rm --env =x busybox true
docker run --rm -e A -e B=1 busybox sh -c 'echo $A-$B'
docker run --rm --label '' busybox true
docker run --rm --user : busybox id
docker run --rm --group-add nonsense busybox true
docker run --rm --security-opt seccomp=/absent busybox true
docker run --rm --security-opt apparmor=unconfined busybox true
docker run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status
docker run --rm --security-opt no-new-privileges=maybe busybox true
docker run --rm --stop-timeout x busybox true
docker run --rm --name x/y busybox true
docker run --rm --name _x busybox true
docker run --rm busybox ''
docker run --rm --entrypoint /absent busybox
docker run --rm -d --rm busybox true | wc -c
docker run --nosuchflag busybox
docker run
docker create
docker run --rm --pid host busybox sh -c 'test $(ls -d /proc/[0-9]* | wc -l) -gt 20; echo $?'
docker run --rm --privileged busybox sh -c 'ls /dev | wc -l | (read n; test $n -gt 30; echo $?)'
docker run --rm --read-only --tmpfs /tmp busybox sh -c 'touch /tmp/x && echo ok; touch /x'
docker run --rm busybox cat /proc/self/cgroup | sed 's/[0-9a-f]\{64\}/ID/;s/wharf-[0-9a-f]*/docker/'
docker run --rm busybox cat /proc/1/oom_score_adj /proc/sys/net/ipv4/ip_unprivileged_port_start
docker run --rm busybox sh -c 'ulimit -a'
docker run --rm busybox sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares'
docker run --rm -m 64m --cpus 0.5 --pids-limit 9 busybox sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes'
docker run --rm busybox umask
docker run --rm -u nobody busybox sh -c 'umask; id; echo $HOME; grep Cap /proc/self/status'
docker run --rm --device /dev/loop-control busybox sh -c 'ls -l /dev/loop-control | cut -c1-10; grep "10:237" /sys/fs/cgroup/devices/devices.list'
docker run --rm --sysctl net.core.somaxconn=77 busybox cat /proc/sys/net/core/somaxconn
docker run --rm busybox ip -o a | awk '{print $2,$3,$4}'
docker run --rm busybox ip r
docker run --rm --network none busybox ip -o a | awk '{print $2,$3,$4}'
docker network create nearby >/dev/null; docker volume create nearby1 >/dev/null; docker run -d --name near3 busybox sleep 1000 >/dev/null; docker commit near3 nearimage >/dev/null; sleep 1
docker events --since 1m --until 0s --filter container=nearb --format '{{.Type}} {{.Action}}'
docker events --since 1m --until 0s --filter event=pause --filter event=commit --filter event=unpause --filter container=near3 --format '{{.Action}}'
docker rm -f near3; docker network rm nearby; docker volume rm nearby1; docker rmi nearimage >/dev/null
