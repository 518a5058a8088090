# Networks: making, joining, leaving, and what is refused.
docker network create n1
docker network create --internal --label x=y n2
docker network create --driver bridge --opt com.docker.network.bridge.name=mybr0 --gateway 10.77.0.9 --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25 --aux-address a=10.77.0.130 n3
docker network inspect n3 | jq -c '.[0]|del(.Created,.Id)'
docker network inspect n2 | jq -c '.[0]|del(.Created,.Id,.IPAM)'
docker network create --ipv6 --subnet fd00:77::/64 n4
docker network inspect n4 | jq -c '.[0]|del(.Created,.Id)|.IPAM.Config|map(select(.Subnet|test("fd00")))'
docker network create --driver host n5
docker network create --driver null n5
docker network create --driver overlay n5
docker network create --driver none n5
docker network create --subnet 10.88.0.0/24 --gateway 10.99.0.1 n6
docker network create --subnet 10.88.0.0/24 --ip-range 10.99.0.0/25 n6
docker network create --subnet 10.88.0.1/24 n6
docker network create --subnet 10.88.0.0/24 --subnet 10.89.0.0/24 n6
docker network create --gateway 10.88.0.1 n6
docker network create --opt com.docker.network.driver.mtu=abc n6b
docker network create --opt com.docker.network.bridge.enable_icc=maybe n6b
docker network create --ipam-driver nonsense n7
docker network create 'bad name'
docker network create ''
docker network create host
docker network create none
docker network create --attachable --ingress n8
docker network create --scope swarm n8
docker run -d --name c1 --network n1 busybox sleep 1000
docker network connect n2 c1
docker network connect n2 c1
docker network connect --ip 10.77.0.200 n3 c1
docker network connect --ip 10.77.0.200 n3 nobody
docker network connect --ip 10.1.2.3 n1 c1
docker run -d --name c2 --network n1 busybox sleep 1000
docker network connect --ip 10.77.0.200 n3 c2
docker network connect --ip 10.99.0.200 n3 c2
docker network connect --ip nonsense n3 c2
docker network connect --alias al --alias al2 --link c1:lnk --ip 10.77.0.201 n3 c2
docker inspect c2 | jq -c '.[0].NetworkSettings.Networks'
docker exec c2 ping -c1 -W2 al2 2>&1 | head -1
docker exec c2 ping -c1 -W2 c1 2>&1 | grep -c '1 packets received'
docker exec c2 ip -4 -o a | awk '{print $2,$4}'
docker exec c2 ip r
docker exec c1 ip r
docker network connect host c1
docker network connect none c1
docker network connect nowhere c1
docker network disconnect nowhere c1
docker network disconnect n1 nobody
docker network disconnect n4 c1
docker network disconnect -f n4 c1
{ docker network rm n1; } >/dev/null 2>&1; true
{ docker network rm n3 n1 nowhere n4; } >/dev/null 2>&1; true
docker network disconnect n2 c1
docker network disconnect n1 c1
docker network disconnect n3 c1
docker exec c1 ip -4 -o a | awk '{print $2,$4}'
docker network connect n1 c1
docker exec c1 ip r
docker stop -t 0 c2
docker network disconnect n3 c2
docker network connect n2 c2
docker inspect c2 | jq -c '.[0].NetworkSettings.Networks | map_values(del(.DNSNames))'
docker start c2
docker inspect c2 | jq -c '.[0].NetworkSettings.Networks'
docker network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.IPv6}} {{.Labels}}'
docker network ls --filter driver=bridge --format '{{.Name}}'
docker network ls --filter label=x --format '{{.Name}}'
docker network ls --filter type=custom --format '{{.Name}}'
docker network ls --filter type=builtin --format '{{.Name}}'
docker network ls --filter type=nonsense
docker network ls --filter nonsense=1
docker network ls --filter dangling=x
docker network ls --filter scope=local --format '{{.Name}}'
docker network ls --filter id=zzz
docker network inspect nowhere n1 -f '{{.Name}}'
docker network rm host
docker network rm none bridge
docker run --rm --network n1 --ip 1.2.3.4 busybox true
docker run --rm --ip 172.17.0.9 busybox true
docker run --rm --network bridge --ip 172.17.0.9 busybox true
docker run --rm --network none --network-alias x busybox ip -o l
docker run --rm --network bridge --network-alias x busybox true
docker run --rm --network host --link c1 busybox true
docker run --rm --network container:c1 -p 80:80 busybox true
docker run --rm --network container:c1 -h x busybox true
docker run --rm --network container:c1 --dns 1.1.1.1 busybox true
docker run --rm --network container:c1 --add-host a:1.1.1.1 busybox true
docker run --rm --network container:c1 --link c1 busybox true
docker run --rm --network container:c1 --mac-address 92:d0:c6:0a:29:33 busybox true
docker run --rm --network container:c1 --expose 80 busybox true
docker run --rm --network container: busybox true
docker run --rm --network '' busybox true
docker run --rm --mac-address nonsense busybox true
docker run --rm --network n1 --network n2 busybox sh -c 'ip -o l | wc -l'
docker run --rm --network name=n1,alias=foo,ip=1.2.3.4 busybox true
docker run --rm --network name=n1,gw-priority=1 --network n2 busybox true
docker run --rm --link c1:x --network n1 busybox ping -c1 -W2 x 2>&1 | grep -c received
docker run -d --name d1 -e FOO=bar --expose 80 busybox sleep 1000
docker inspect -f '{{json .HostConfig.Links}}' d1
docker rm -f c1 c2 d1
docker network prune -f --filter nonsense=1
docker network prune -f --filter until=abc
docker network create --subnet 10.93.1.0/24 g1
docker network create --ipv6 --subnet 10.93.2.0/24 --subnet fd93:2::/64 g2
docker network create --ipv4=false --ipv6 --subnet fd93:3::/64 g3
docker run --rm --network g1 --network g2 busybox sh -c 'ip route | grep -c "default via 10.93.2.1 "; ip -6 route | grep -c "default via fd93:2::1 "'
docker run --rm --network name=g1,gw-priority=1 --network g2 busybox sh -c 'ip route | grep -c "default via 10.93.2.1 "'
docker run --rm --network g1 --network g3 busybox sh -c 'ip route | grep -c "default via 10.93.1.1 "; ip -6 route | grep -c "default via fd93:3::1 "'
docker run --rm --network g1 --ip 10.93.1.255 busybox true
docker run --rm --network g1 --ip 10.93.1.0 busybox true
docker run --rm --network g1 --link-local-ip 1.2.3.4 busybox true
docker network rm g1 g2 g3
docker network create w1
docker network create --internal w2
docker run -d --name w -p 18080:80 --expose 90 busybox sleep 1000
docker network connect w1 w
docker network disconnect bridge w
docker inspect -f '{{json .NetworkSettings.Ports}}' w
docker network disconnect w1 w
docker inspect -f '{{json .NetworkSettings.Ports}}' w; docker port w; docker ps --format '{{.Names}} {{.Ports}}'
docker run -d --name w3 -p 18080:80 busybox sleep 1000
docker network connect w1 w
docker rm -f w3; docker network disconnect -f w1 w
docker network connect w1 w
docker port w
docker rm -f w
docker run -d --name w --network w2 -p 18080:80 --expose 90 busybox sleep 1000
docker inspect -f '{{json .NetworkSettings.Ports}}' w
docker network connect w1 w
docker inspect -f '{{json .NetworkSettings.Ports}}' w
docker rm -f w
docker run -d --name w --network none --expose 90 busybox sleep 1000
docker inspect -f '{{json .NetworkSettings.Ports}}' w; docker rm -f w
docker network rm w1 w2
docker network create --subnet 10.94.1.0/24 --ip-range 10.94.1.64/26 r1
docker run --rm --network r1 busybox sh -c "ip -4 -o a show eth0 | awk '{print \$4}'; ip route"
docker network create --ipv6 --subnet 10.94.2.0/24 --subnet fd94:2::/64 --ip-range fd94:2::100/120 r2
docker run --rm --network r2 busybox ip -6 route show default
docker network create --subnet 10.94.3.0/24 --ip-range 10.94.3.255/32 r3
docker network create --subnet 10.94.3.0/24 --gateway 10.94.3.255 r3
docker network create --subnet 10.94.3.0/24 --gateway 10.94.3.0 r3
docker network create --ipv6 --subnet fd94:3::/64 --gateway fd94:3:: r3
docker network create --subnet 10.94.3.0/24 --aux-address router=10.94.3.1 r3
docker network create --subnet 10.94.3.0/24 --gateway 10.94.3.7 --aux-address x=10.94.3.7 r3
docker network create --ipv6 --subnet fd94:3::/64 --aux-address x=fd94:3::1 r3
docker network rm r1 r2
docker network create s1; docker network create s2
docker create --name s --network s1 busybox sleep 1000
docker network connect s2 s
docker inspect s | jq -c '.[0].NetworkSettings.Networks.s2.DNSNames'
docker network rm s2
docker network disconnect s2 s
docker network disconnect s2 s
docker network disconnect -f s2 s
docker network disconnect s2 nobody
docker network disconnect -f s2 nobody
docker network disconnect -f s1 nobody
docker start s
docker network disconnect s2 s
docker rm -f s
docker run -d --name s --network none busybox sleep 1000
docker network connect s1 s
docker network disconnect none s
docker network connect --alias x none s
docker network connect none s
docker network connect none s
docker network disconnect none s
docker network connect s1 s
docker network connect none s
docker network disconnect s1 s
docker network connect none s
docker rm -f s
docker create --name s --network none busybox sleep 1000
docker network disconnect none s
docker network connect s1 s
docker network connect none s
docker network disconnect s1 s
docker network connect none s
docker start s
docker network connect --alias x --ip 1.2.3.4 bridge s
docker network disconnect none s
docker network connect --alias x --ip 1.2.3.4 bridge s
docker network connect --ip6 fd00::9 s1 s
docker rm -f s
docker network rm s1
docker network create l1; docker network create l2
docker run -d --name la --network l1 busybox sleep 1000; docker network connect --alias sh l2 la
docker run -d --name lb --network l1 busybox sleep 1000; docker network connect --alias sh l2 lb
docker run -d --name lc --network l1 busybox sleep 1000; docker network connect --link lb:lnk l2 lc
docker exec lc nslookup la 127.0.0.11 2>&1 | grep -A1 Name: | sort
docker exec lc nslookup sh 127.0.0.11 2>&1 | grep -A1 Name: | sort
docker exec lc nslookup lnk 127.0.0.11 2>&1 | grep -A1 Name: | sort
docker rm -f la lb lc; docker network rm l1 l2
