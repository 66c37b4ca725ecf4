# tmux: a server of its own, two windows, keys, capture and the end of it all.
# needs: tmux
export TMUX_TMPDIR=$PWD; unset TMUX; t() { tmux -f /dev/null "$@"; }
until_seen() {
    for ((i = 0; i < 200; i++)); do t capture-pane -p -t "$1" | grep -q "$2" && return; sleep 0.1; done
    echo "never saw $2"
    t capture-pane -p -t "$1"
}
t new-session -d -s main -x 80 -y 24 'PS1="> " HISTFILE= exec bash --norc --noprofile -i' || exit
t list-sessions -F '#{session_name} #{window_width}x#{window_height}'
until_seen main '^>'
t send-keys -t main 'echo $((6*7))-$(stty size | tr " " x) | rev' Enter; until_seen main 08x
t capture-pane -p -t main | sed '/^$/d'
t new-window -t main -n second 'cat'; t send-keys -t main:second 'typed' Enter
until_seen main:second typed
t list-windows -t main -F '#{window_name} #{pane_current_command}' | tail -1
t send-keys -t main:second C-d
t send-keys -t main:0 'sleep 100' Enter
until [ "$(t display -p -t main:0 '#{pane_current_command}')" = sleep ]; do sleep 0.1; done
t send-keys -t main:0 C-c
t send-keys -t main:0 'echo status $?' Enter; until_seen main:0 'status 130'
t resize-window -t main:0 -x 100 -y 30; t send-keys -t main:0 'stty size' Enter
until_seen main:0 '30 100'; t split-window -t main:0 -h 'sleep 100'
t list-panes -t main:0 -F '#{pane_width}'; t set-buffer pasted; t show-buffer
t kill-session -t main
# The server may be about to end, or have ended.
t list-sessions 2>&1 | sed 's/ on .*//; s/error connecting.*/no server running/; s/server exited.*/no server running/'
rm -rf tmux-*; ls
