# What a container is told at its start, its life, and the first words of everything else.
docker run --rm busybox echo hello
docker run --rm busybox sh -c 'exit 42'
docker run --rm busybox absent
docker run --rm busybox /absent
docker run --rm busybox /etc
docker run --rm busybox /etc/passwd
docker run --rm -w relative busybox true
docker run --rm -w /made/up busybox pwd
docker run --rm -u nobody busybox id
docker run --rm -u 4242:4343 busybox id
docker run --rm -u stranger busybox id
docker run --rm -u web:strangers busybox id
docker run --rm --hostname ship busybox hostname
docker run --rm --memory 1k busybox true
docker run --rm --memory 64m --memory-swap 32m busybox true
docker run --rm --cpus 10000 busybox true
docker run --rm --cap-add NONSENSE busybox true
docker run --rm --cap-drop ALL busybox grep Cap /proc/self/status
docker run --rm busybox grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status
docker run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status
docker run --rm --security-opt nonsense=1 busybox true
docker run --rm --network nowhere busybox true
docker run --rm --network container:nobody busybox true
docker run --rm --network host --hostname x busybox hostname
docker run --rm -v /x:relative busybox true
docker run --rm -v 'bad name:/x' busybox true
docker run --rm -v /x:/ busybox true
docker run --rm --mount type=bind,source=/absent,target=/x busybox true
docker run --rm --mount type=nonsense,target=/x busybox true
docker run --rm --tmpfs /t:size=1m,nonsense busybox true
docker run --rm --name 'a b' busybox true
docker run --rm --restart always busybox true
docker run --rm --restart sometimes busybox true
docker run --rm --sysctl nonsense=1 busybox true
docker run --rm --ulimit nonsense=1 busybox true
docker run --rm --device /absent busybox true
docker run --rm --pull never absent
docker run --rm --entrypoint '' busybox echo x
docker run --rm --read-only busybox touch /x
docker run --rm busybox env
docker run --rm busybox ls -l /dev
docker run --rm --privileged busybox grep Cap /proc/self/status
docker run --rm busybox ls /proc/self/ns
docker create --name made busybox sleep 1000
docker create --name made busybox
docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.Name}} {{.Path}} {{.Args}}' made
docker inspect -f '{{json .Config}}' made
docker inspect -f '{{json .HostConfig}}' made
docker inspect -f '{{json .State}}' made
docker inspect -f '{{json .NetworkSettings.Networks}}' made
docker ps -a --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}} {{.Ports}}'
docker start made
docker start made
docker inspect -f '{{.State.Status}} {{.State.Running}} {{.State.OOMKilled}}' made
docker exec made echo inside
docker exec made absent
docker exec made /absent
docker exec made /etc
docker exec -u stranger made true
docker exec -w /absent made pwd
docker exec -e A=1 made env
docker exec nobody true
docker pause made
docker pause made
docker exec made true
docker ps --format '{{.Names}} {{.State}}'
docker unpause made
docker unpause made
docker rename made renamed
docker rename renamed renamed
docker rename renamed ''
docker rm renamed
docker kill -s NONSENSE renamed
docker kill renamed
docker kill renamed
docker wait renamed
docker stop renamed
docker exec renamed true
docker top renamed
docker attach renamed
docker logs renamed
docker diff renamed
docker port renamed
docker port renamed 80
docker update --memory 1k renamed
docker cp renamed:/absent /tmp/x
docker rm renamed
docker rm nobody
docker inspect nobody
docker start nobody
docker stop nobody
docker restart nobody
docker logs nobody
docker ps --filter nonsense=1
docker ps --filter status=nonsense
docker ps --filter exited=x
docker images --filter nonsense=1
docker images --format '{{.Repository}} {{.Tag}} {{.Size}}' busybox
docker image inspect -f '{{json .Config}}' busybox
docker image inspect -f '{{.RepoTags}} {{.Architecture}} {{.Os}} {{json .RootFS}}' busybox
docker image inspect absent
docker history --format '{{.CreatedBy}} {{.Size}} {{.Comment}}' busybox
docker tag busybox other:1
docker tag absent other
docker tag busybox UPPER
docker tag busybox 'bad tag'
docker rmi other:1
docker rmi absent
docker rmi -f absent
docker volume create good
docker volume create x
docker volume create 'bad name'
docker volume create --driver nonsense v
docker volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{json .Labels}} {{json .Options}}' good
docker volume inspect absent
docker volume ls --format '{{.Driver}} {{.Name}}'
docker volume ls --filter nonsense=1
docker volume rm good
docker volume rm good
docker network create --subnet 10.200.0.0/16 net
docker network create net
docker network create bridge
docker network create --subnet nonsense other
docker network create --subnet 10.200.0.0/24 overlapping
docker network create --driver nonsense other
docker network inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{json .IPAM}} {{json .Options}} {{json .Labels}}' net
docker network inspect -f '{{json .Options}}' bridge | sed 's|docker0|B|;s|wh[0-9a-f]*"|B"|'
docker network inspect absent
docker network connect net nobody
docker network rm net
docker network rm net
docker network rm bridge
docker system info --format '{{.OSType}} {{.Architecture}} {{.Swarm.LocalNodeState}} {{.DefaultRuntime}}'
docker swarm join-token worker
docker service ls
docker container prune -f --filter nonsense=1
