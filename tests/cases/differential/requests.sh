# Every endpoint, in good and in bad requests, in the versions that clients speak.
docker rmi localhost/hello:latest >/dev/null 2>&1; true
docker run -d --name q1 -l tier=front -p 18200:80 -v qv:/data -e A=B --health-cmd true --health-interval 1h busybox sh -c 'echo out; echo err >&2; exec sleep 1000'; sleep 1
docker create --name q2 -t busybox true
docker network create --subnet 10.210.0.0/24 qn
ask GET /_ping
ask HEAD /_ping
ask 1.24,1.40,1.51 GET /_ping
ask 1.23,0,1,1.,.1,1.24.1 GET /_ping
ask 1.23,1.52 GET /nowhere
ask POST /_ping
ask PUT /_ping
ask OPTIONS /_ping
ask OPTIONS /nowhere
ask PATCH /containers/json
ask GET /
ask GET /v1.51
ask GET /v1.51/
ask GET //containers//json
ask GET /containers/json/
ask GET /CONTAINERS/json
ask HEAD /containers/json
ask HEAD /version
ask HEAD /info
ask HEAD /networks
ask HEAD /images/json
shape 1.24,1.40,1.44,1.47,1.51 GET /containers/json
shape 1.24,1.40,1.44,1.47,1.51 GET '/containers/json?all=1&size=1'
ask GET '/containers/json?limit=x'
ask GET '/containers/json?limit=-5&all=abc' | tail -1 | jq length
ask GET '/containers/json?limit=1' | tail -1 | jq length
ask GET '/containers/json?filters=%5B%5D'
ask GET '/containers/json?filters=%7B%7D' | tail -1 | jq length
ask GET '/containers/json?filters=null' | tail -1 | jq length
ask GET '/containers/json?filters=%7B%22status%22%3A%22exited%22%7D'
ask GET '/containers/json?filters=%7B%22label%22%3A%7B%22tier%3Dfront%22%3Afalse%7D%7D' | tail -1 | jq length
ask GET '/containers/json?filters=%7B%22status%22%3A%5B%22nope%22%5D%7D'
shape 1.24,1.40,1.44,1.47,1.51 GET /containers/q1/json
shape 1.51 GET '/containers/q1/json?size=1'
shape 1.51 GET /containers/q2/json
ask GET /containers/nobody/json
ask GET /containers//json
ask GET '/containers/%20/json'
ask GET '/containers/a%2Fb/json'
shape 1.24,1.51 GET /containers/q1/top
ask GET '/containers/q1/top?ps_args=-o%20cmd'
ask GET '/containers/q1/top?ps_args=-eo%20pid,cmd' | tail -1 | jq -c '.Titles'
ask GET /containers/q2/top
ask GET /containers/nobody/top
ask 1.40,1.51 GET '/containers/q1/logs?stdout=1' | grep -a -v ^Server | od -c
ask GET '/containers/q1/logs?stdout=1&since=x'
ask GET '/containers/q1/logs?stdout=1&until=x'
ask GET '/containers/q1/logs?stdout=0&stderr=no'
ask GET '/containers/q2/logs?stdout=1'
ask GET /containers/q1/changes
ask GET /containers/nobody/changes
ask GET /containers/q2/export | head -5
shape 1.24,1.40,1.51 GET '/containers/q1/stats?stream=0'
ask GET '/containers/q1/stats?one-shot=1'
ask GET '/containers/q2/stats?stream=0'
ask GET '/containers/q2/stats?stream=0&one-shot=1'
ask POST '/containers/q1/resize'
ask POST '/containers/q1/resize?h=1'
ask POST '/containers/q1/resize?h=-1&w=5'
ask POST '/containers/q1/resize?h=99999999999&w=5'
ask POST '/containers/q2/resize?h=5&w=5'
ask POST '/containers/nobody/resize?h=5&w=5'
ask POST '/containers/nobody/resize?h=x&w=5'
ask POST '/containers/q1/start'
ask POST '/containers/q1/start' ''
ask POST '/containers/q1/start' '{}'
ask POST '/containers/q1/start' '{"HostConfig":{}}'
ask POST '/containers/q1/start?detachKeys=nonsense-x'
ask POST '/containers/q1/stop?t=x'
ask POST '/containers/q1/stop?t=1.5'
ask POST '/containers/q1/stop?signal=NOPE'
ask POST '/containers/q2/stop'
ask POST '/containers/q1/restart?t=x'
ask POST '/containers/q1/kill?signal=0'
ask POST '/containers/q1/kill?signal=-1'
ask POST '/containers/q1/kill?signal=65'
ask POST '/containers/q1/kill?signal=SIGRTMIN%2B3'
ask POST '/containers/q1/kill?signal=rtmax-1'
ask POST '/containers/q1/kill?signal=winch'
ask POST '/containers/q2/kill'
ask POST '/containers/q2/kill?signal=NOPE'
ask POST '/containers/q2/pause'
ask POST '/containers/q2/unpause'
ask POST '/containers/nobody/pause'
ask POST '/containers/q1/rename'
ask POST '/containers/q1/rename?name=q2'
ask POST '/containers/q1/rename?name=%2Fq1'
ask POST '/containers/q1/rename?name=a%2Fb'
ask POST '/containers/q1/rename?name=x'
ask POST '/containers/nobody/rename?name=x'
ask POST '/containers/nobody/rename'
ask POST '/containers/q2/wait'
ask POST '/containers/q2/wait?condition=not-running'
ask POST '/containers/q2/wait?condition='
ask POST '/containers/q2/wait?condition=NEXT-EXIT'
ask 1.29 POST '/containers/q2/wait?condition=abc'
ask POST '/containers/nobody/wait?condition=abc'
ask POST '/containers/nobody/wait?condition=removed'
ask POST '/containers/q1/update' ''
ask POST '/containers/q1/update' '{'
ask POST '/containers/q1/update' '[]'
ask POST '/containers/q1/update' 'null'
ask POST '/containers/q1/update' '"x"'
ask POST '/containers/q1/update' '{"Memory":"x"}'
ask POST '/containers/q1/update' '{"Memory":1.5}'
ask POST '/containers/q1/update' '{"CpusetCpus":"77"}'
ask POST '/containers/q1/update' '{"CpuQuota":1}'
ask POST '/containers/q1/update' '{"MemorySwappiness":3}'
ask POST '/containers/q1/update' '{"BlkioWeight":5}'
ask POST '/containers/q1/update' '{"PidsLimit":-1}'
ask POST '/containers/q1/update' '{"PidsLimit":0}'
ask POST '/containers/q1/update' '{"PidsLimit":77}'; docker exec q1 cat /sys/fs/cgroup/pids/pids.max
ask POST '/containers/q1/update' '{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-1}}'
ask POST '/containers/q1/update' '{"RestartPolicy":{"Name":"always","MaximumRetryCount":1}}'
ask POST '/containers/q1/update' '{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":1}}'
ask POST '/containers/nobody/update' '{}'
ask POST '/containers/nobody/update' '{"Memory":1}'
ask POST '/containers/q2/update' '{"Memory":67108864}'
ask POST '/containers/q2/update' '{"MemorySwap":-1}'
ask GET /containers/q2/json | tail -1 | jq -c '.HostConfig|[.Memory,.MemorySwap,.PidsLimit]'
ask POST /containers/create
ask POST /containers/create ''
ask POST /containers/create 'null'
ask POST /containers/create '[]'
ask POST /containers/create '"x"'
ask POST /containers/create '{'
ask POST /containers/create '{"Image":7}'
ask POST /containers/create '{"Image":"busybox"}{}'
ask POST /containers/create '{"Image":"busybox","HostConfig":[]}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"Memory":"1"}}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"Memory":99999999999999999999}}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"PortBindings":{"80":[{"HostPort":7}]}}}'
ask POST /containers/create '{"Image":"busybox","ExposedPorts":["80"]}'
ask POST /containers/create '{"Image":"busybox","Labels":["a=b"]}'
ask POST /containers/create '{"Image":"busybox","Env":"A=B"}'
ask POST /containers/create '{"Image":"busybox","Tty":"yes"}'
ask POST /containers/create '{"Image":"busybox","StopTimeout":"x"}'
ask POST /containers/create '{}' 'Content-Type: text/plain'
ask POST /containers/create '{}' 'Content-Type:'
ask POST /containers/create '{"Image":"absent"}' 'Content-Type: application/json; charset=utf-8'
ask POST /containers/create '{}' 'Content-Type: application/json/x'
ask POST /containers/create '{}' 'Content-Type: ;'
ask POST '/containers/create?name=q3' '{"Image":"busybox","Cmd":["true"]}' | tail -1 | jq -c 'keys,.Warnings'
ask POST '/containers/create?name=q3' '{"Image":"busybox","Cmd":["true"]}'
ask POST '/containers/create?name=%2Fq4' '{"image":"busybox","cmd":["true"],"hostconfig":{"memory":null}}' | tail -1 | jq -c 'keys,.Warnings'
shape 1.24,1.51 GET /containers/q4/json
docker rm q3 q4
ask POST /containers/q1/attach
ask POST /containers/nobody/attach
ask POST '/containers/q1/attach?stream=1&detachKeys=nonsense-x'
ask GET '/containers/q1/attach/ws'
ask GET '/containers/nobody/attach/ws'
ask GET '/containers/q1/archive?path=/etc/passwd' | head -8 | grep -a -v passwd | sed 's/[A-Za-z0-9+=/]\{60,\}/B64/'
ask HEAD '/containers/q1/archive?path=/bin/sh' | sed 's/[A-Za-z0-9+=/]\{60,\}/B64/'
ask HEAD '/containers/q1/archive?path=/etc/' | sed 's/[A-Za-z0-9+=/]\{60,\}/B64/'
ask HEAD '/containers/q1/archive?path='
ask HEAD '/containers/nobody/archive?path=/'
ask GET '/containers/nobody/archive?path=/'
ask GET '/containers/q1/archive?path=/data/absent'
ask PUT '/containers/q1/archive'
ask PUT '/containers/q1/archive?path=/absent'
ask PUT '/containers/q1/archive?path=/etc/passwd'
ask PUT '/containers/q1/archive?path=/' 'garbage' | sed 's/unexpected EOF.*//;s/invalid tar header.*//' | head -1
ask PUT '/containers/nobody/archive?path=/'
ask POST /containers/q1/exec
ask POST /containers/q1/exec ''
ask POST /containers/q1/exec '{'
ask POST /containers/q1/exec '{"Cmd":"true"}' | tail -1 | jq -c keys
ask POST /containers/q1/exec '{"Cmd":[""]}' | tail -1 | jq -c keys
ask POST /containers/q1/exec '{"Cmd":["true"],"DetachKeys":"nonsense-x"}'
ask POST /containers/q1/exec '{"Cmd":["true"],"Env":["=x"]}'
ask POST /containers/q1/exec '{"Cmd":["true"],"Tty":7}'
ask POST /containers/q2/exec '{"Cmd":["true"]}'
ask POST /containers/q2/exec '{}'
ask POST /exec/nobody/start
ask POST /exec/nobody/start '{'
ask POST /exec/nobody/start '{}'
ask POST /exec/nobody/resize
ask POST '/exec/nobody/resize?h=x&w=1'
ask GET /exec//json
id=$(ask POST /containers/q1/exec '{"Cmd":["sh","-c","echo a; exit 3"],"AttachStdout":true,"AttachStderr":true,"Env":["X=1"],"WorkingDir":"/tmp","User":"0:0"}' | tail -1 | jq -r .Id); ask GET /exec/$id/json; ask POST /exec/$id/start '{}' | grep -a -v ^Server | od -c; ask GET /exec/$id/json | sed 's/"Pid":[0-9]*//'
id=$(ask POST /containers/q1/exec '{"Cmd":["sleep","100"],"Tty":true}' | tail -1 | jq -r .Id); ask POST /exec/$id/start '{"Detach":true,"Tty":true}'; ask POST /exec/$id/start '{"Detach":true}'; ask POST "/exec/$id/resize?h=7&w=8"; ask POST "/exec/$id/resize"; shape GET /exec/$id/json
id=$(ask POST /containers/q1/exec '{"Cmd":["true"]}' | tail -1 | jq -r .Id); ask POST /exec/$id/start; ask POST /exec/$id/start '{' ; ask POST /exec/$id/start '{"Detach":"x"}'; ask POST /exec/$id/start '{"Detach":true,"ConsoleSize":[1,2]}'; ask POST /exec/$id/start '{"Detach":true,"Tty":true,"ConsoleSize":[1,2,3]}'
docker pause q1; ask POST /containers/q1/exec '{"Cmd":["true"]}'; ask POST '/containers/q1/attach?stream=1'; ask POST /containers/q1/restart; ask POST /containers/q1/start; shape GET '/containers/q1/stats?stream=0'; docker unpause q1
shape 1.24,1.40,1.44,1.47,1.51 GET /images/json
shape 1.24,1.44,1.51 GET '/images/json?all=1&digests=1&shared-size=1&manifests=1'
ask GET '/images/json?filters=x'
ask 1.24,1.25 GET '/images/json?filter=nope'
shape 1.24,1.40,1.44,1.47,1.49,1.51 GET /images/busybox/json
shape GET '/images/busybox/json?manifests=1'
ask GET '/images/busybox/json?platform=x' | sed 's/parse platform: .*/parse platform/'
ask GET '/images/busybox/json?platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D'
ask GET '/images/%20/json'
ask GET '/images/a:b:c/json'
ask GET '/images/busybox@sha256:abc/json'
shape 1.24,1.51 GET /images/busybox/history
ask GET '/images/busybox/history?platform=x' | sed 's/parse platform: .*/parse platform/'
ask GET /images/absent/history
ask POST '/images/busybox/tag?repo=qi&tag=bad%20tag'
ask POST '/images/busybox/tag?repo=qi:1&tag=2'
ask POST '/images/busybox/tag?repo=qi@sha256:abc'
ask POST '/images/busybox/tag?repo=qi&tag=1'
ask DELETE '/images/qi:1?force=1&noprune=1' | sed 's/sha256.*//'
ask DELETE '/images/%20'
ask POST '/images/create?fromImage=a%20b'
ask POST '/images/create?fromImage=localhost:1/x&tag=bad%20tag'
ask GET '/images/get?names=absent'
ask GET '/images/get?names=busybox&platform=x' | sed 's/parse platform: .*/parse platform/'
ask GET '/images/get?names=busybox' 2>/dev/null | grep -a -c '^Content-Type: application/x-tar'
ask POST '/images/prune?filters=%7B%22dangling%22%3A%5B%22x%22%5D%7D'
ask POST '/images/prune'
ask GET /distribution//json
ask GET /distribution/BAD/json
ask POST /commit
ask POST '/commit?container=q1&repo=BAD'
ask POST '/commit?container=q1&changes=NONSENSE'
ask POST '/commit?container=q1&repo=qc' '{'
ask POST '/commit?container=q1&repo=qc' '[]'
ask POST '/commit?container=q1&repo=qc&tag=1&pause=0&comment=c&author=a&changes=ENV%20X=1' '{"Labels":{"k":"v"}}' | tail -1 | jq -c keys
ask GET /images/qc:1/json | tail -1 | jq -c -S '.Config,.Comment,.Author'; docker rmi -f qc:1 | wc -l
shape 1.24,1.27,1.28,1.40,1.44,1.47,1.48,1.51 GET /networks
shape 1.24,1.40,1.44,1.47,1.48,1.51 GET /networks/bridge
ask GET /networks/qn | tail -1 | jq -c 'del(.Created,.Id)'
ask GET '/networks/qn?verbose=x'
ask GET '/networks/qn?verbose=1&scope=local' | tail -1 | jq -c 'keys_unsorted'
ask GET '/networks/qn?scope=nonsense'
ask GET '/networks?filters=%7B%22dangling%22%3A%5B%22x%22%5D%7D'
ask GET '/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D' | tail -1 | jq -c 'map(.Name)'
ask GET '/networks?filters=%7B%22scope%22%3A%5B%22x%22%5D%7D'
ask GET '/networks?filters=%7B%22driver%22%3A%5B%22host%22%5D%7D' | tail -1 | jq -c 'map(.Name)'
ask POST /networks/create
ask POST /networks/create ''
ask POST /networks/create '{'
ask POST /networks/create '[]'
ask POST /networks/create '{"Name":""}'
ask POST /networks/create '{"Name":"a b"}'
ask POST /networks/create '{"Name":"qn"}'
ask POST /networks/create '{"Name":"qx","IPAM":{"Config":[{"Subnet":"10.0.0.1/24"}]}}'
ask POST /networks/create '{"Name":"qx","EnableIPv6":"x"}'
ask POST /networks/qn/connect
ask POST /networks/qn/connect ''
ask POST /networks/qn/connect '{}'
ask POST /networks/qn/connect '{"Container":"q1","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.9.9.9"}}}'
ask POST /networks/qn/connect '{"Container":"q1","EndpointConfig":{"MacAddress":"x"}}'
ask POST /networks/qn/connect '{"Container":"q1","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.210.0.44"},"Aliases":["al"]}}'
ask POST /networks/qn/connect '{"Container":"q1"}'
shape 1.24,1.51 GET /networks/qn
ask DELETE /networks/qn | sed 's/ (name.*//'
ask POST /networks/qn/disconnect
ask POST /networks/qn/disconnect '{}'
ask POST /networks/qn/disconnect '{"Container":"q1","Force":"x"}'
ask POST /networks/qn/disconnect '{"Container":"q1"}'
ask POST /networks/qn/disconnect '{"Container":"q1"}'
ask POST '/networks/prune?filters=%7B%22until%22%3A%5B%22x%22%5D%7D'
ask POST '/networks/prune?filters=%7B%22label%22%3A%5B%22nope%22%5D%7D'
ask POST '/networks/prune' | grep HTTP
ask POST '/networks/prune'
shape 1.24,1.40,1.51 GET /volumes
ask GET '/volumes?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D'
ask GET '/volumes?filters=%7B%22dangling%22%3A%5B%22x%22%5D%7D'
ask GET '/volumes?filters=%7B%22name%22%3A%5B%22nope%22%5D%7D'
shape GET /volumes/qv
ask GET /volumes/
ask GET /volumes/nope
ask POST /volumes/create | sed 's|"Mountpoint":"[^"]*"|M|'
ask POST /volumes/create '' | sed 's|"Mountpoint":"[^"]*"|M|'
ask POST /volumes/create '{'
ask POST /volumes/create '{"Name":"x"}'
ask POST /volumes/create '{"Name":7}'
ask POST /volumes/create '{"Name":"qw","Labels":["a"]}'
ask POST /volumes/create '{"Name":"qw","Labels":{"a":"b"},"DriverOpts":{}}' | sed 's|"Mountpoint":"[^"]*"|M|;s|"Options":{}|"Options":null|'
ask POST /volumes/create '{"Name":"qw","Driver":"local"}' | sed 's|"Mountpoint":"[^"]*"|M|;s|"Options":{}|"Options":null|'
ask POST /volumes/create '{"ClusterVolumeSpec":{}}'
ask DELETE /volumes/qv
ask DELETE '/volumes/qv?force=1'
ask DELETE /volumes/qw
ask DELETE /volumes/qw
ask DELETE '/volumes/qw?force=1'
ask PUT /volumes/qv
ask PUT '/volumes/qv?version=1' '{}'
ask POST '/volumes/prune?filters=%7B%22all%22%3A%5B%22x%22%5D%7D'
ask POST '/volumes/prune?filters=%7B%22until%22%3A%5B%221h%22%5D%7D'
ask POST '/volumes/prune'
shape 1.24,1.40,1.42,1.44,1.47,1.49,1.50,1.51 GET /info
shape 1.24,1.41,1.42,1.44,1.51 GET /system/df
shape GET '/system/df?type=image'
shape GET '/system/df?type=container&type=volume'
shape GET '/system/df?type=build-cache'
ask GET '/system/df?type=nonsense'
ask 1.41 GET '/system/df?type=nonsense' | grep -c LayersSize
ask GET '/events?since=x'
ask GET '/events?until=x'
ask GET '/events?since=5&until=1'
ask GET '/events?since=0&until=1&filters=x'
ask GET '/events?since=0&until=1&filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D'
ask GET '/events?until=1'
ask POST /auth
ask POST /auth ''
ask POST /build/prune | tail -1
ask POST '/containers/prune?filters=%7B%22until%22%3A%5B%221h%22%2C%222h%22%5D%7D'
ask POST '/containers/prune?filters=%7B%22label%21%22%3A%5B%22tier%22%5D%7D' | sed 's/"SpaceReclaimed":[0-9]*//'
ask POST '/containers/prune'
ask DELETE '/containers/q1'
ask DELETE '/containers/q1?link=1'
ask DELETE '/containers/'
ask DELETE '/containers/q1?force=1&v=1'
ask DELETE '/containers/q1?force=1'
ask POST /swarm/leave
ask GET /tasks/x
ask GET /secrets/x
ask GET /configs/x
ask GET /plugins/x/json
ask DELETE /plugins/x
ask GET '/plugins?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D'
ask GET /containers/q1/checkpoints
ask POST '/containers/nobody/start?checkpoint=x'
docker create --name q9 busybox /nosuch
ask POST '/containers/q9/start?checkpoint-dir=/x'
ask POST /containers/q9/restart
ask POST /containers/create '{"Image":"busybox","Healthcheck":{"Interval":"x"}}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"Memory":"1","CapAdd":["kill"]}}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}'
ask POST /containers/create '{"Image":"busybox","Env":[null]}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"CapAdd":[null]}}'
ask POST /containers/create '{"Image":"busybox","HostConfig":{"PortBindings":{"80-81/tcp":[]}}}'
ask POST /containers/create '{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"bridge":null}}}'
ask POST /containers/create '{"Image":"busybox","Labels":{"a":null},"HostConfig":{"CpuPercent":1,"MemoryReservation":-1}}' | sed 's/[0-9a-f]\{64\}/ID/'
ask POST '/containers/q1/kill?signal=RTMIN%2B16'
ask POST '/containers/nobody/kill?signal=BAD'
ask POST '/containers/q9/resize?h=65536&w=1'
ask POST '/containers/nobody/attach?detachKeys=x-y'
