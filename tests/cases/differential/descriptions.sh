# What inspect, ps and port tell of containers with everything that they can have.
docker network create --subnet 10.201.0.0/16 --label a=b in1
docker volume create --label k=v invol
docker run -d --name i1 --network in1 --ip 10.201.0.77 --network-alias al -p 127.0.0.1:18080:80/tcp -p 18081:81/udp -v invol:/data:ro -v /anon --mount type=tmpfs,target=/t,tmpfs-size=1048576 --tmpfs /t2:size=1m -v /etc:/hostetc:ro -m 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 50 --label l1=v1 -e A=B -e C --env-file /dev/null -h hosty --dns 1.2.3.4 --dns-search foo.bar --dns-option ndots:2 --add-host h:1.1.1.1 --cap-add NET_ADMIN --cap-drop MKNOD --security-opt no-new-privileges --group-add 5 --restart on-failure:3 --stop-signal SIGINT --stop-timeout 3 --health-cmd 'true' --health-interval 1h --ulimit core=0 --sysctl net.ipv4.ip_forward=1 --log-opt max-size=1m --log-opt max-file=2 --shm-size 1m --oom-score-adj 5 --init -w /tmp -u 0 --read-only --device /dev/null:/dev/xnull:r --expose 99 --annotation an=no busybox sleep 1000
docker inspect -f '{{json .State}}' i1 | jq -c 'del(.Pid)'
# The client sends variables and binds, and the engine tells mounts, in the order of a Go map.
docker inspect -f '{{json .Config}}' i1 | jq -c '.Env |= sort'
docker inspect -f '{{json .HostConfig}}' i1 | jq -c '.Binds |= sort'
docker inspect -f '{{json .NetworkSettings}}' i1 | jq -c 'del(.SandboxKey)'
docker inspect i1 | jq -c '.[0]|keys_unsorted'
docker ps --no-trunc --format '{{json .}}' | jq -c 'del(.CreatedAt,.RunningFor,.Status) | .Mounts |= (split(",") | sort)'
docker port i1
docker port i1 80
docker port i1 80/tcp
docker port i1 81/udp
docker port i1 82
docker exec i1 hostname
docker exec i1 env | grep -v C=
docker exec i1 id
docker exec i1 pwd
docker exec i1 ls -l /dev/xnull
docker exec i1 df -k /t /t2 /dev/shm
docker network inspect in1 | jq -c '.[0]|del(.Created,.Id)'
docker network inspect -v in1 | jq -c '.[0]|keys_unsorted'
docker volume inspect invol | jq -c '.[0]|keys_unsorted'
docker volume ls --filter dangling=true -q | wc -l
docker network ls --format '{{json .}}' | grep in1 | jq -c 'del(.CreatedAt)'
docker rm i1
docker stop i1
docker inspect -f '{{json .State}}' i1
docker inspect -f '{{json .NetworkSettings}}' i1 | jq -c 'del(.SandboxKey)'
docker ps -a --format '{{.Names}} {{.Status}} {{.Ports}}' | sed 's/[0-9]* [a-z]* ago/ago/;s/About.*ago/ago/;s/Less.*ago/ago/'
docker rm -v i1
docker volume rm invol
docker network rm in1
docker run -d --name i2 busybox sleep 1000
docker inspect -s i2 | jq -c '.[0]|[.SizeRw,.SizeRootFs]'
docker inspect -f '{{.GraphDriver.Name}}' i2
docker inspect -f '{{json .HostConfig}}' i2
docker inspect --type container nobody
docker inspect --type image i2
docker inspect --type volume i2
docker inspect --type nonsense i2
docker inspect -f '{{.Nonsense}}' i2
docker inspect -f '{{nonsense}}' i2
docker inspect -f '{{.State.Nonsense}}' i2
docker ps --format '{{.Nonsense}}'
docker ps -s --format '{{.Size}}'
docker kill i2 && docker wait i2
docker inspect -f '{{json .State}}' i2
docker rm i2
docker run -d --name i3 --network none busybox sleep 100
docker rm -f i3
docker run -d --name i4 --network host busybox sleep 100
docker run -d --name i5 --network container:i4 --pid container:i4 --ipc host --uts host busybox sleep 100
docker inspect i5 | jq -c '.[0].NetworkSettings'
docker inspect -f '{{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}}' i5
docker rm -f i4 i5
docker run -d -P --expose 80 --expose 90-91/udp --name i6 busybox sleep 100
docker port i6 | sed 's/:[0-9]*$/:P/'
docker inspect i6 | jq -c '.[0].NetworkSettings.Ports' | sed 's/"HostPort":"[0-9]*"/P/g'
docker inspect i6 | jq -c '.[0].Config.ExposedPorts,.[0].HostConfig.PortBindings,.[0].HostConfig.PublishAllPorts'
docker ps --format '{{.Ports}}' | sed 's/:[0-9]*->/:P->/g'
docker rm -f i6
docker run -d --name i7 -p 18090-18092:90-92 -p 18095:95/tcp -p 18095:95/udp busybox sleep 100
docker ps --format '{{.Ports}}'
# Which of its addresses is found taken first is drawn by lot.
docker run -d --name i8 -p 18090:80 busybox sleep 100 2>&1 | sed 's/Bind for [0.:]*:18090/Bind for ANY:18090/'
docker ps -a --filter name=i8 --format '{{.Names}} {{.Status}}'
docker inspect -f '{{json .State}}' i8 | sed 's/Bind for [0.:]*:18090/Bind for ANY:18090/'
docker rm -f i7 i8
docker run --rm --expose abc busybox true
