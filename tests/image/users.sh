# Users, owners and permissions in a Debian system, as its own tools make and show them.
# Needs sudo, rsync, acl, attr, libcap2-bin, passwd, login, adduser. Prints the same wherever it runs.
exec 2>&1
export LC_ALL=C
cd /
show() { find "$@" -printf '%u:%g %m %p\n' | sort; }
status() { stat -c '%F %U:%G %a %t:%T %n' "$@"; }

echo "---- accounts"
useradd -m -s /bin/bash -u 1500 alice
useradd -m -u 1501 bob
groupadd -g 2000 team
usermod -aG team alice
gpasswd -a bob team
id alice
id bob
stat -c '%U:%G %a %n' /home/alice /home/alice/.bashrc
echo 'alice:secret' | chpasswd
grep -c '^alice:\$' /etc/shadow
stat -c '%U:%G %a' /etc/shadow
passwd -S alice | cut -d' ' -f1,2
chage -l alice | tail -3

echo "---- becoming somebody else"
echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice
chmod 440 /etc/sudoers.d/alice
visudo -c
su alice -c 'id; whoami; cd; touch mine; stat -c "%U:%G %a" mine; cat /etc/shadow; sudo id; sudo -u bob id -un; sudo -u bob -g team id -gn'
su - bob -c 'sudo -n id; echo $HOME $USER; umask'
su nobody -s /bin/sh -c id
setpriv --reuid 1500 --regid 1500 --clear-groups id
setpriv --reuid 1500 --clear-groups --inh-caps=-all --bounding-set=-all grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status
chroot --userspec=alice:team / id
runuser -u alice -- id -un
sg team -c 'id -gn'

echo "---- install, set-user-ID programs"
install -o alice -g team -m 2750 -d /srv/d
install -o bob -g team -m 4755 /bin/true /srv/d/prog
show /srv/d
su bob -c 'cd /srv/d && ls && touch x; ls x'
su alice -c 'cd /srv/d && touch y && mkdir z && stat -c "%U:%G %a %n" y z'
cp /usr/bin/id /srv/idbob
chown bob:team /srv/idbob
chmod 6755 /srv/idbob
su alice -c '/srv/idbob -un; /srv/idbob -gn; /srv/idbob -run'
su bob -c 'echo x >> /srv/w'
cp /usr/bin/whoami /srv/w
chmod 4755 /srv/w
su bob -c /srv/w

echo "---- tar, cp, rsync"
cd /srv
tar cf /tmp/t.tar d idbob
mkdir /tmp/x
tar xf /tmp/t.tar --same-owner -p -C /tmp/x
show /tmp/x
install -d -o alice /tmp/xa
su alice -c 'tar xf /tmp/t.tar -C /tmp/xa'
show /tmp/xa
cp -a d /tmp/cpa
show /tmp/cpa
rsync -aHAX d idbob /tmp/rs/
show /tmp/rs/d /tmp/rs/idbob
rsync -aHAX --itemize-changes d idbob /tmp/rs/

echo "---- device nodes"
mknod /srv/null c 1 3
mknod /srv/disk b 8 1
mknod /srv/pipe p
chmod 666 /srv/null
chown alice:disk /srv/disk
status /srv/null /srv/disk /srv/pipe
echo hello > /srv/null
wc -c < /srv/null
cp -a /srv/null /srv/disk /tmp/
status /tmp/null /tmp/disk
tar cf - -C /srv null disk pipe | tar tvf - | awk '{print $1, $2, $3}'
su bob -c 'mknod /tmp/no c 1 3'
test -c /srv/null && test -b /srv/disk && echo both

echo "---- capabilities of files"
cp /usr/bin/id /srv/capid
setcap cap_net_raw,cap_chown+ep /srv/capid
getcap /srv/capid
cp /usr/bin/cat /srv/capcat
setcap cap_dac_read_search+ep /srv/capcat
su bob -c '/srv/capcat /etc/shadow | head -1 | cut -d: -f1; cat /etc/shadow'
cp -a /srv/capcat /tmp/capcat
getcap /tmp/capcat
echo >> /srv/capcat
getcap /srv/capcat
chown bob /srv/capid
getcap /srv/capid
su bob -c 'setcap cap_chown+ep /srv/capid'

echo "---- access control lists, attributes"
echo s > /srv/f
chmod 640 /srv/f
chown alice:alice /srv/f
setfacl -m u:bob:r /srv/f
getfacl /srv/f
ls -l /srv/f | cut -c1-11
su bob -c 'cat /srv/f; echo x > /srv/f'
setfacl -m m::- /srv/f
su bob -c 'cat /srv/f'
setfacl -b /srv/f
getfacl -c /srv/f
mkdir /srv/da
setfacl -d -m u:bob:rwx /srv/da
touch /srv/da/n
mkdir /srv/da/s
getfacl /srv/da/n /srv/da/s
getfattr -d -m - /srv/da /srv/da/n
setfattr -n user.x -v y /srv/f
su bob -c 'getfattr -n user.x /srv/f'
su alice -c 'setfattr -n user.z -v 1 /srv/f; setfattr -n trusted.a -v 1 /srv/f; setfattr -n security.a -v 1 /srv/f'

echo "---- trusted attributes"
setfattr -n trusted.a -v 1 /srv/f
getfattr -d -m - /srv/f
su alice -c 'getfattr -d -m - /srv/f'

echo "---- files of others"
su alice -c 'touch /tmp/a1'
su bob -c 'rm -f /tmp/a1; mv /tmp/a1 /tmp/a2; chmod 777 /tmp/a1; chown bob /tmp/a1; ln /tmp/a1 /tmp/l1; truncate -s 0 /tmp/a1; touch -d 2020-01-01 /tmp/a1'
chown -R bob: /srv/d
show /srv/d
chown --from=bob alice /srv/d
stat -c %U /srv/d
chgrp nosuchgroup /srv/d

echo "---- the end of accounts"
passwd -l bob
userdel -r bob
id bob
ls -d /home/bob
deluser alice team
getent group team
