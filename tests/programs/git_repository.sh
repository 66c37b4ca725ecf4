# git: init, add, commit, branch, merge, stash, gc, clone, bundle and fsck of a local repository.
# needs: git
# timeout: 180
# volatile: */index */pack/* */info/* */logs/* *.bundle */COMMIT_EDITMSG */objects/* */ORIG_HEAD */FETCH_HEAD */hooks/*
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1 PAGER=cat
git init -q -b main r; cd r || exit; seq 200 > numbers; mkdir -p d/e; echo text > d/e/f
ln -s numbers link; chmod +x numbers
git status --short; git add .; git commit -q -m first; git log --oneline --stat; git status --porcelain | wc -l
echo changed >> d/e/f; git diff; git diff --stat; git stash -q; cat d/e/f; git stash list
git stash pop -q; git commit -qam second; git log --format='%h %s %an %ad' --date=iso
git checkout -q -b side HEAD~1; seq 150 > numbers; git commit -qam side; git checkout -q main
git merge -q side -m merged; git log --graph --oneline; git show --stat HEAD | tail -4
wc -l numbers; git tag v1; git describe --tags
git checkout -q -b conflict HEAD~2; echo other > d/e/f; git commit -qam other; git merge main
echo $?; git diff --name-only --diff-filter=U; git merge --abort
git rebase -q main 2>&1 | tail -1 | cut -c1-20; git rebase --abort 2>/dev/null; git checkout -q main
git rev-parse HEAD HEAD~1 HEAD^{tree}; git ls-files -s; git cat-file -p HEAD
git hash-object numbers; git grep -n 42; git blame -s d/e/f; git rm -q link; git mv numbers moved
git commit -qm moved; git log --follow --oneline moved
git gc -q; git count-objects -v | grep -E 'count|packs|in-pack'; git fsck --full 2>&1
git repack -adq; git bundle create ../b.bundle main; cd ..
git clone -q r clone; git -C clone log --oneline | head -3; git clone -q --bare r bare.git
git -C clone push -q ../bare.git HEAD:refs/heads/pushed; git -C bare.git branch
git clone -q b.bundle -b main frombundle; ls frombundle
git clone -q --depth 1 "file://$PWD/r" shallow; git -C shallow log --oneline
cd clone; git config user.x y; git config --get user.x; echo x > new; git clean -n; git clean -fq
git fetch -q origin; git pull -q; git branch -a; git archive HEAD | tar t
git format-patch -1 --stdout HEAD~2 | head -5 | cut -c1-60; git worktree add -q ../wt HEAD~1
git worktree list | wc -l; git reflog | wc -l; git bisect start HEAD HEAD~2 > /dev/null
git bisect reset 2>/dev/null; git shortlog -s HEAD; git status
