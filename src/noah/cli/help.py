"""The texts of `--help`."""

from __future__ import annotations

from typing import Final

MAIN: Final = """\
Usage: noah COMMAND [OPTIONS] ...

Runs unmodified Linux programs in a user-mode virtual machine; Noah answers their system calls.

Commands:
  run       run a program, or an image in a container
  trace     run a program and show its system calls
  report    list what programs asked for and Noah does not have
  doctor    check whether this machine can run programs, and how fast

Images:
  pull      get an image: a root file system to run programs in
  images    list images                     rmi       remove images
  tag       give one another name           history   how one was made
  inspect   all that is known of images and containers
  save      images as an archive            load      images of an archive
  push      put one into a registry         login, logout    who you are there
  image prune               remove those that nobody uses

Containers:
  ps        list containers                 rm        remove containers
  start     run one again                   stop      let one end, or make it
  restart   both                            kill      send one a signal
  exec      one more program in one         shell     a login shell in the last one
  logs      what one has written            attach    what one writes from now on
  wait      until one has ended             rename    call one otherwise
  top       the processes of one            port      where its ports are on the host
  diff      what one has changed of its image
  cp        copy files out of one or into one
  export    its files as an archive         commit    its files as an image
  container prune           remove those that do not run
  volume create, ls, inspect, rm, prune
                            directories that outlive containers, to be shown by run -v NAME:GUEST
  system prune              all of that, and downloads

`noah container COMMAND` and `noah image COMMAND` are understood as well, with ls and rm.

Options:
  --version   print the version
  --help      print this text; `noah COMMAND --help` says more about a command

Try:
  noah run -- bash -c 'ls / | wc -l'
  noah pull debian && noah run --rm debian cat /etc/os-release
  noah doctor
"""

_RUN_OPTIONS: Final = """\
  --root DIR              the guest's root directory (default: /, the host's own programs)
  -v, --volume HOST:GUEST[:ro]
                          show a directory or file of the host at the path GUEST; ro: for reading only. In a container,
                          what belongs to who runs Noah belongs to the guest's root there, and a HOST without a slash is
                          the name of a volume (noah volume)
  -e, --env NAME=VALUE    set an environment variable; NAME alone takes the host's value
  -w, --workdir DIR       the working directory, a path of the guest
  -u, --user USER[:GROUP] become this user: numbers, or names of the guest's /etc/passwd and /etc/group
  -i, -t                  streams and terminals are always handed through; in the background (-d) they give a container
                          an input (-i) and a terminal of its own (-t) for `noah attach`
  --hostname NAME         what the machine is called there (default: as it is)
  --read-only             the root cannot be written to; volumes can
  --network host|none     none: no network but a loopback device; without the privilege to make one, none at all
  --engine auto|kvm|emulator
                          what executes the guest's instructions (auto: KVM where it works)
  --host auto|linux|posix
                          which of the host's features are used (posix: only those that every host has)
  --verbose               name on stderr what the program asks for and Noah does not have
"""

RUN: Final = (
    """\
Usage: noah run [OPTIONS] [--] PROGRAM [ARGUMENTS...]
       noah run [OPTIONS] IMAGE [[--] PROGRAM [ARGUMENTS...]]

Runs a Linux program of this host, of the root directory that --root names, or of an image (see `noah pull`), in a new
container. Options end at PROGRAM or IMAGE, or at --, behind which the first word is never an image. The program's exit
status is Noah's; a program that dies of a signal takes Noah along in the same way (in a container: 128 + the signal).
125 means that Noah itself failed, 126 that PROGRAM cannot be executed, 127 that there is no such program.

Options:
"""
    + _RUN_OPTIONS
    + """\
  --strace[=FILE]         write every system call to FILE, or to stderr, as strace(1) does
  --help                  print this text

Options for containers:
  --rm                    remove the container when it ends; else it is kept (`noah ps --all`)
  --name NAME             what to call it
  -d, --detach            in the background; prints the id. With -i it has an input, with -t a terminal (noah attach)
  --entrypoint PROGRAM    run this instead of what the image is made to run
  -p, --publish [[ADDRESS:]HOST:]PORT[/udp]
                          what the program calls PORT is the port HOST on the host, at that address only. Containers
                          are on the host's network: ports that are not named here are what the program says
  --env-file FILE         set the environment variables of a file, NAME=VALUE a line
  --pull missing|always|never
                          whether to get an image that is named by its source, as docker://NAME (`noah pull`)
  --arch amd64|arm64      the processor to get it for; docker's --platform linux/ARCH is understood
  --add-host NAME:ADDRESS
                          one more line of /etc/hosts; the address host-gateway is this host
  --mount type=bind,source=HOST,target=GUEST[,readonly]
                          the long way to say --volume
  -l, --label NAME=VALUE  a note that `noah ps --filter` and `noah inspect` know
  --stop-signal SIGNAL    what `noah stop` sends (default: what the image says, or TERM)
  --init, --shm-size SIZE
                          accepted: process 1 looks after orphans anyway, /dev/shm has no limit
  --host-certs            trust the certificate authorities that this host trusts ($SSL_CERT_FILE, else the system's
                          bundle): shown for reading in /run/host, and named to OpenSSL, curl, git, pip, npm, gem, Go
                          and cargo by their environment variables
  --http-proxy=false      do not hand the host's http_proxy, https_proxy, no_proxy and the like to the container

Examples:
  noah run -- cat /etc/os-release
  noah run --root ~/debian -v ~/src:/src -w /src -- make
  noah run -e LANG=C -u nobody -- id
  noah run --rm -it debian bash
  noah run --rm docker://alpine cat /etc/os-release
  noah run --strace=calls.txt -- sh -c 'date | tr a-z A-Z'

Environment:
  NOAH_VERBOSE=1   as --verbose      NOAH_DEBUG=1    show Python's traceback when Noah itself fails
  NOAH_STRICT=1    show the traceback of every mistake inside Noah at once, beside the log of them
"""
)

TRACE: Final = (
    """\
Usage: noah trace [-c | -C] [-o FILE] [OPTIONS] [--] PROGRAM [ARGUMENTS...]

Runs a program and writes every system call of it and of all its children as strace(1) does, a line each, to stderr.

  -o FILE                 write to FILE instead
  -c                      count instead: calls, errors and the time they took, waiting included; a process that is
                          killed by SIGKILL, or that outlives the first one, is not counted
  -C                      write the calls, and the counts behind them
  -f                      accepted for the sake of habit: children are always followed

Options of `noah run`:
"""
    + _RUN_OPTIONS
    + """\

Examples:
  noah trace -- cat /etc/hostname
  noah trace -o calls.txt -- make
  noah trace -c -- find /usr -name '*.h'
"""
)

REPORT: Final = """\
Usage: noah report [--clear]
       noah report [OPTIONS of noah run] [--] PROGRAM [ARGUMENTS...]

Lists the system calls and flags that programs asked for and Noah does not have, most wanted first. Noah keeps the list
in $XDG_STATE_HOME/noah/missing (~/.local/state/noah/missing). With PROGRAM: runs it, and lists what this run asked for
when it ends, on stderr.

  --clear   forget the list

Examples:
  noah report
  noah report -- python3 -c 'import asyncio'
"""

DOCTOR: Final = """\
Usage: noah doctor

Checks what programs need on this machine: Python, the host, KVM and the emulator with a self-test of each, the clock
pages, limits; runs a small program. Says what to do about whatever does not work. The exit status is 0 if programs
can run, else 1.
"""

PULL: Final = """\
Usage: noah pull [OPTIONS] SOURCE

Gets an image: a root file system to run programs in. Images are kept in the user's data directory ($NOAH_DATA, else
$XDG_DATA_HOME/noah or ~/.local/share/noah; on macOS ~/Library/Application Support/noah). A pull that was interrupted
goes on where it stopped; layers that are there already are not fetched again.

Sources:
  debian[:SUITE]          a Debian system, made from Debian's archive: signatures and digests are checked, the packages'
                          own scripts run inside Noah. SUITE is a name such as bookworm, trixie, sid or stable (default)
  docker://[SERVER/]NAME[:TAG|@DIGEST]
                          an image of a registry (default: that of docker, and the tag latest)
  oci:DIR[:TAG]           an image of a directory in the OCI's layout, as skopeo(1) and umoci(1) make them
  oci-archive:FILE[:TAG]  the same in an archive
  docker-archive:FILE[:NAME:TAG]
                          an image of what `docker save` or `podman save` has written
  rootfs:TARBALL          any root file system as a tar archive, compressed or not

Options:
  --arch amd64|arm64      the processor to get it for (default: this machine's)
  --name NAME[:TAG]       what to call the image (default: as the source does)
  -q, --quiet             print nothing but the image's id
  --tls-verify=false      also a registry without TLS (one on this machine may be so in any case)

Options for debian:
  --variant minbase|standard|buildd
                          the essential packages and apt (minbase, the default), all that Debian calls important too,
                          or what is needed to build packages
  --include PACKAGE,...   further packages, with all that they depend on
  --mirror URL            where the archive is (http, https, file); default: $NOAH_DEBIAN_MIRROR, else the mirror that
                          the host's own apt is configured for
  --keyring FILE          accept the signatures of these keys instead of those of Debian's archive
  --allow-expired         accept indices whose time is over (as does an apt with Check-Valid-Until "false")

Passwords for registries are those that `noah login`, `docker login` or `podman login` has kept: in
~/.docker/config.json ($DOCKER_CONFIG), with its credential helpers, and in containers/auth.json ($REGISTRY_AUTH_FILE).

Examples:
  noah pull debian
  noah pull debian:trixie --include build-essential,git --name work
  noah pull docker://alpine && noah run --rm -it alpine sh
  skopeo copy docker://busybox oci:busybox && noah pull oci:busybox
"""

IMAGES: Final = """\
Usage: noah images [OPTIONS] [NAME...]

Lists the images that are there.

  -q, --quiet           ids only
  --no-trunc            ids at full length
  -f, --filter NAME=VALUE
                        only those that fit: dangling=true|false, reference=PATTERN, before=IMAGE, since=IMAGE; of
                        several with one name one must fit
  --format FORMAT       table, json, or text with {{.ID}}, {{.Repository}}, {{.Tag}}, {{.Digest}}, {{.CreatedSince}},
                        {{.CreatedAt}}, {{.Size}}; `table TEXT` for columns, parted by \\t
"""

RMI: Final = """\
Usage: noah rmi [--force] IMAGE...

Takes a name away from an image, and removes the image with its last name, unless a container was made from it.

  -f, --force   also an image with several names, by its id
"""

TAG: Final = """\
Usage: noah tag IMAGE NAME[:TAG]

Gives an image one more name.
"""

SAVE: Final = """\
Usage: noah save [-o FILE] IMAGE...

Writes images as an archive to stdout, or to FILE: one that docker, podman and skopeo read as well (docker-archive, and
oci-archive). Each image is one layer.
"""

LOAD: Final = """\
Usage: noah load [-i FILE]

Takes all images of an archive of docker's, podman's or the OCI's kind, from stdin or from FILE, compressed or not.

  -q, --quiet   accepted for the sake of habit
"""

PUSH: Final = """\
Usage: noah push [OPTIONS] IMAGE [[SERVER/]NAME[:TAG]]

Puts an image into a registry, under its own name or another. It goes there as one layer.

  -q, --quiet          print the name alone
  --tls-verify=false   also to a registry without TLS (one on this machine may be so in any case)
"""

LOGIN: Final = """\
Usage: noah login [OPTIONS] [SERVER]

Lets a registry check a user's name and password, and keeps them for `noah pull` and `noah push` where docker keeps
them: in ~/.docker/config.json ($DOCKER_CONFIG), or in the credential store that this file names. Default: docker's
registry.

  -u, --username NAME
  -p, --password PASSWORD   seen by other users of this machine while it runs; rather:
  --password-stdin          read it from the input
  --tls-verify=false        also a registry without TLS
"""

LOGOUT: Final = """\
Usage: noah logout [SERVER]

Forgets what `noah login` has kept.
"""

HISTORY: Final = """\
Usage: noah history [--no-trunc] IMAGE

Shows how an image was made, as far as whoever made it has noted that, the last step first.

  --no-trunc   nothing is cut short
"""

INSPECT: Final = """\
Usage: noah inspect [--type container|image] NAME...

Prints what is known of containers and images as a list in JSON. Where both have a name, the container is meant.

  --type container|image   look only there
"""

START: Final = """\
Usage: noah start [OPTIONS] CONTAINER...

Runs containers again, with the programs that they were made for, in the background.

  -a, -i, --attach, --interactive   one in the foreground; the program's exit status is Noah's
"""

RESTART: Final = """\
Usage: noah restart [-t SECONDS] CONTAINER...

Ends containers as `noah stop` does, if they run, and runs them again in the background.

  -t, --time SECONDS   how long to wait for the end (default: 10)
"""

EXEC: Final = """\
Usage: noah exec [OPTIONS] CONTAINER [--] PROGRAM [ARGUMENTS...]

Runs one more program in a container that is running. The program's exit status is Noah's.

  -d, --detach            in the background, without input and output
  -e, --env NAME=VALUE    set an environment variable
  -w, --workdir DIR       the working directory, a path of the container
  -u, --user USER[:GROUP] become this user
  -i, -t                  accepted for the sake of habit: streams and terminals are always handed through
  --strace[=FILE]         write every system call to FILE, or to stderr, as strace(1) does
"""

SHELL: Final = """\
Usage: noah shell [-u USER] [CONTAINER]

A login shell in the container that was made last, or in the one that is named; it need not be running.
"""

PS: Final = """\
Usage: noah ps [OPTIONS]

Lists the containers that run.

  -a, --all      those that do not run, too
  -l, --latest   the one that was made last
  -q, --quiet    ids only
  --no-trunc     nothing is cut short
  -f, --filter NAME=VALUE
                 only those that fit: id, name (a regular expression), status, exited (an exit status), ancestor (an
                 image), before, since (a container), label, volume; of several with one name one must fit
  --format FORMAT
                 table, json, or text with {{.ID}}, {{.Image}}, {{.Command}}, {{.CreatedAt}}, {{.RunningFor}},
                 {{.State}}, {{.Status}}, {{.Ports}}, {{.Names}}, {{.Labels}}, {{.Mounts}}, {{.Networks}};
                 `table TEXT` for columns, parted by \\t
"""

STOP: Final = """\
Usage: noah stop [OPTIONS] CONTAINER...

Ends containers: their first programs get SIGTERM, or what the image says, and what is left after a while is killed.

  -t, --time SECONDS    how long to wait (default: 10)
  -s, --signal SIGNAL   the signal to begin with: a number or a name, such as INT
"""

KILL: Final = """\
Usage: noah kill [-s SIGNAL] CONTAINER...

Sends a signal to the first programs of containers. SIGKILL ends all programs of them.

  -s, --signal SIGNAL   a number or a name, such as HUP (default: KILL)
"""

WAIT: Final = """\
Usage: noah wait CONTAINER...

Waits until containers have ended, and prints the exit status of each.
"""

TOP: Final = """\
Usage: noah top CONTAINER

Lists the processes of a container that runs. Its users' names are the container's own.
"""

PORT: Final = """\
Usage: noah port CONTAINER [PORT[/PROTOCOL]]

Shows where the ports that a container publishes (noah run --publish) are on the host.
"""

DIFF: Final = """\
Usage: noah diff CONTAINER

Lists what a container has changed of its image: A for what it has added, C for changed, D for deleted.
"""

RENAME: Final = """\
Usage: noah rename CONTAINER NAME

Calls a container otherwise.
"""

ATTACH: Final = """\
Usage: noah attach [OPTIONS] CONTAINER

Shows what a container in the background writes from now on, until it ends; its exit status is Noah's. What is typed is
handed to one that was run with -i; its input stays open when this ends. Ctrl-P Ctrl-Q leaves a terminal (-t) alone.

  --no-stdin          hand nothing on
  --sig-proxy=false   do not hand on the signals that this gets, Ctrl-C for one
"""

VOLUME_CREATE: Final = """\
Usage: noah volume create [NAME]

Makes an empty volume, and prints its name. `noah run -v NAME:GUEST` makes one that is missing; one that is empty gets
what the image has at GUEST.
"""

VOLUME_LS: Final = """\
Usage: noah volume ls [OPTIONS]

Lists volumes.

  -q, --quiet       names only
  --format FORMAT   table, json, or text with {{.Name}}, {{.Driver}}, {{.Mountpoint}}
"""

VOLUME_INSPECT: Final = """\
Usage: noah volume inspect VOLUME...

Prints where volumes are, as JSON.
"""

VOLUME_RM: Final = """\
Usage: noah volume rm [OPTIONS] VOLUME...

Removes volumes that no container has, with all that is in them.

  -f, --force   do not complain about those that are not there
"""

VOLUME_PRUNE: Final = """\
Usage: noah volume prune [OPTIONS]

Removes all volumes that no container has.

  -f, --force   do not ask
"""

CONTAINER_PRUNE: Final = """\
Usage: noah container prune [--force]

Removes all containers that do not run.

  -f, --force   without asking
"""

IMAGE_PRUNE: Final = """\
Usage: noah image prune [OPTIONS]

Removes all images that have no name and no container.

  -a, --all     those with names, too
  -f, --force   without asking
"""

SYSTEM_PRUNE: Final = """\
Usage: noah system prune [OPTIONS]

Removes all containers that do not run, all images that have no name and no container, and all downloads that are kept.

  -a, --all     images with names, too
  -f, --force   without asking
"""

RM: Final = """\
Usage: noah rm [--force] CONTAINER...

Removes containers and all that was changed in them.

  -f, --force   also those that run: they are killed
"""

LOGS: Final = """\
Usage: noah logs [OPTIONS] CONTAINER

Shows what a container that was run in the background (-d) has written.

  -f, --follow       go on until it ends
  -n, --tail LINES   only so many of the last lines (default: all)
"""

CP: Final = """\
Usage: noah cp [-a] CONTAINER:PATH PATH
       noah cp [-a] PATH CONTAINER:PATH

Copies a file, or a directory with all that is in it, out of a container or into one.

  -a, --archive   keep the owners
"""

EXPORT: Final = """\
Usage: noah export [-o FILE] CONTAINER

Writes the files of a container as a tar archive to stdout, or to FILE.
"""

COMMIT: Final = """\
Usage: noah commit CONTAINER NAME[:TAG]

Makes an image of a container's files as they are now.
"""
