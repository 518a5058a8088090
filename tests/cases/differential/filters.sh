# What lists, prunes and events are narrowed down by, and what is wrong with it.
docker network create fn; docker run -d --name f1 -l a=b -l c=d=e -p 18300:80 -p 18301-18303:81-83/udp --expose 9000-9005 --network fn -v fv:/data busybox sleep 1000
docker run -d --name f2 --health-cmd true --health-interval 1h -l a=x busybox sleep 1000; docker run --name f3 -l a busybox sh -c 'exit 3'; docker create --name f4 -p 18310:90 busybox true
docker commit f3 derived:1 >/dev/null; docker create --name f5 derived:1 true; docker commit f5 derived:2 >/dev/null; docker create --name f6 derived:2 true
for value in busybox busybox:nope docker.io/library/busybox derived:1 derived:2 '' BAD; do found /containers/json '{"ancestor":["'$value'"]}' all; done
id=$(docker images -q --no-trunc busybox | cut -d: -f2); for count in 2 3 12 64; do found /containers/json '{"ancestor":["'${id:0:$count}'"]}' all; done
for key in ancestor network volume label name id status health is-task exited publish; do for none in '{}' '[]' null; do found /containers/json '{"'$key'":'$none'}' all; done; done
for value in f1 f3 /f3 '' nobody; do found /containers/json '{"before":["'$value'"]}' all; found /containers/json '{"since":["'$value'"]}' all; done
for value in 0 3 -1 x '' 1.5 +3 99999999999999999999; do found /containers/json '{"exited":["'$value'"]}' all; done
for value in true false 0 1 x '' True; do found /containers/json '{"is-task":["'$value'"]}' all; done
for value in a a=b a= =b '' c=d=e c=d A; do found /containers/json '{"label":["'$value'"]}' all; done
for value in fn bridge '' zz none; do found /containers/json '{"network":["'$value'"]}' all; done
for value in 80 18300 18300-18310 18301/udp 18301 90 18310 x '' 0 70000 -1 9-8 1-65535/udp 18300/ 80/x /tcp 80:80 1-2-3; do found /containers/json '{"publish":["'$value'"]}' all; done
for value in 80 81/udp 9003 9000-9002 9006 1-65535 90 x '' 80:80 9-8; do found /containers/json '{"expose":["'$value'"]}' all; done
for value in fv /data /d ''; do found /containers/json '{"volume":["'$value'"]}' all; done
for all in '{"health":{"none":false}}' '{"status":{"running":false}}' '{"is-task":{"false":true,"true":false}}' '{"name":{"f1":null}}' '{"name":["f1"],"id":{"x":true}}' '{"name":["f1"]} x' null '{"name":[null]}' '{"name":1}'; do found /containers/json "$all" all; done
for value in 99999999999999999999 1.5 x -1; do ask GET "/containers/json?limit=$value" | tail -1 | jq -c 'if type == "array" then length else . end'; done
for kind in containers networks images build; do for value in 1h -1h 0 5.5 1.0000000001 5. -1 2030-01-01 2030-01-01Z 2030-01-01+01:00 2030-1-1 2030-13-01 2030-02-30 2030-01-01T24 '2030-01-01 00:00:00' 2030-01-01t00:00:00z 2030-01-01T00:00:00. x '' 1d 1e3; do echo $kind $value; pruned $kind '{"until":["'"$value"'"],"label":["none=such"]}'; done; done
for kind in containers networks images volumes build; do for all in '{"nonsense":["x"]}' '{"until":["1h","2h"],"label":["none=such"]}' '{"dangling":[],"label":["none=such"]}' '{"label":["none=such"]}' null '{'; do echo $kind $all; if [ "$all" != null ]; then pruned $kind "$all"; fi; done; done
for all in '{"id":["a","b"]}' '{"unused-for":["x"]}' '{"until":["1h"],"unused-for":["1h"]}' '{"label":["a","b"]}' '{"mutable":["1"]}'; do pruned build "$all"; done
ask POST '/build/prune?keep-storage=x'
ask 1.47,1.48 POST '/build/prune?max-used-space=x'
for value in 1.5 1.0000000001 1.x 1. .5 99999999999999999999; do ask GET "/events?since=$value&until=1"; done
for value in 1.0000000001 2030-1-1 5. yesterday 2030-13-01 2030-01-01T24:00; do docker logs --since "$value" f3; docker events --since "$value" --until 1; done
docker rm -f f1 f2 f3 f4 f5 f6; docker rmi -f derived:2 derived:1 >/dev/null; docker network rm fn; docker volume rm fv
