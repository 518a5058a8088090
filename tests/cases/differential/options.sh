# Flags of create, run and update: what they do, and the words for what they refuse. Without networks, which have a script of
# their own.
mkdir -p /tmp/wharf-options; echo hi > /tmp/wharf-options/f; docker run --rm --network none -v /tmp/wharf-options:/d:ro,z busybox sh -c 'cat /d/f; touch /d/x'
docker run --rm --network none -v /tmp/wharf-options:/d:nocopy busybox true
docker run --rm --network none -v wharf-options:/d:rslave busybox true
docker run --rm --network none -v wharf-options:/d:ro,z,nocopy busybox true; docker volume rm wharf-options
docker create --name options -v /d:ro busybox true
docker run --rm --volumes-from options:nocopy busybox true
docker run --rm --volumes-from options:rslave busybox true
docker run --rm --network none --mount type=bind,src=/tmp/wharf-options,dst=/d,readonly,bind-recursive=writable busybox cat /d/f
docker run --rm --network none --mount type=bind,src=/tmp/wharf-options,dst=/d,bind-recursive=disabled busybox cat /d/f
docker run --rm --network none --mount type=bind,src=/tmp/wharf-options/none,dst=/d busybox true
docker run --rm --network none --mount type=volume,src=options,dst=/d,volume-subpath=../x busybox ls /d
docker run --rm --network none --mount type=volume,dst=/d,volume-subpath=x busybox ls /d
docker run --rm --network none --mount type=image,dst=/d busybox true
docker run --rm --network none --mount type=image,src=busybox,dst=/d,image-subpath=../x busybox true
docker run --rm --network none --mount type=tmpfs,src=/x,dst=/d busybox true
docker run --rm --network none --tmpfs /d --mount dst=/d,type=bind,src=/tmp/wharf-options busybox cat /d/f
docker run --rm --network none --tmpfs /d:foo busybox true
docker run --rm --network none --mount type=volume,dst=/etc,volume-nocopy busybox ls /etc
docker run --rm --network none --security-opt apparmor=foo busybox true
docker run --rm --network none --security-opt label=type:svirt_t busybox true
docker run --rm --network none --security-opt no-new-privileges=foo busybox true
docker run --rm --network none --security-opt systempaths=unconfined busybox sh -c 'grep -c proc/ /proc/mounts'
docker run --rm --network none --security-opt writable-cgroups=true busybox sh -c 'grep " /sys/fs/cgroup" /proc/mounts | grep -c rw'
docker run --rm --network none --oom-score-adj 5000 busybox true
docker run --rm --network none --blkio-weight-device /dev/nope:100 busybox true
docker run --rm --network none --device-read-bps /dev/nope:1mb busybox true
docker run --rm --network none --cpu-rt-period 1000 --cpu-rt-runtime 2000 busybox true
docker run --rm --network none --device vendor.com/class=name busybox true
docker run --rm --network none --gpus all busybox true
docker run --rm --network none --gpus 'driver=foo' busybox true
docker run --rm --network none --link nope:x busybox true
api POST /containers/create?name=options '{"Image":"busybox","HostConfig":{"IOMaximumIOps":5}}'
api POST /containers/create?name=options '{"Image":"busybox","MacAddress":"zz"}'
docker run -d --name options --network none busybox sleep 1000 | wc -c
docker update -m 64m options
docker update -m 64m --memory-swap 128m --pids-limit -1 options; docker inspect options --format '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}'
docker update --cpus 0.5 options; docker update --cpu-quota 5000 options
docker update --restart foo options
docker update --restart on-failure:4 options; docker inspect options --format '{{json .HostConfig.RestartPolicy}}'
docker pause options; docker inspect options --format '{{json .State.Health}}'; docker unpause options
docker rm -f options
docker run -d --name options --network none --health-cmd true --health-interval 300ms busybox sleep 1000 | wc -c; sleep 2; docker inspect options --format '{{.State.Health.Status}}'; docker pause options; docker inspect options --format '{{.State.Health.Status}}'; docker rm -f options
rm -r /tmp/wharf-options
docker run --rm --network none --cap-add CAP_ALL busybox true
docker run --rm --network none --cap-drop cap_all busybox true
docker run --rm --network none --device-cgroup-rule 'c 99999999999999999999:1 r' busybox true
docker run --rm --network none --device-cgroup-rule 'c 1:3 rr' busybox true
docker run --rm --network none --privileged --device /dev/null:/dev/nothing:r busybox sh -c 'stat -c %t:%T /dev/nothing; echo x > /dev/nothing'
docker run --rm --network none --privileged --device /dev/nosuch:/dev/nothing busybox true
docker run --rm --network none --uts host busybox sh -c 'test $(cat /etc/hostname) = $HOSTNAME && echo ${#HOSTNAME}'
docker create --name near --pid host --security-opt no-new-privileges busybox true
docker inspect -f '{{json .HostConfig.SecurityOpt}}{{json .HostConfig.Links}}' near
