#!/usr/bin/env escript
%% timeout: 180
%% Processes, messages, timers, links, ports, sockets, files.
-mode(compile).

main(_) ->
    logger:set_primary_config(level, none),
    Self = self(),
    Pids = [spawn(fun() -> Self ! {done, N, lists:sum(lists:seq(1, N))} end) || N <- lists:seq(1, 1000)],
    Sums = [receive {done, N, Sum} -> Sum end || N <- lists:seq(1, length(Pids))],
    io:format("processes ~p~n", [lists:sum(Sums)]),
    Ring = lists:foldl(fun(_, Next) -> spawn(fun() -> forward(Next) end) end, Self, lists:seq(1, 500)),
    Ring ! token,
    receive token -> io:format("around the ring~n") end,
    process_flag(trap_exit, true),
    Linked = spawn_link(fun() -> exit(on_purpose) end),
    receive {'EXIT', Linked, Reason} -> io:format("linked: ~p~n", [Reason]) end,
    {_, Monitor} = spawn_monitor(fun() -> 1 / list_to_integer("0") end),
    receive {'DOWN', Monitor, process, _, {badarith, _}} -> io:format("badarith~n") end,
    erlang:send_after(20, Self, tick),
    receive tick -> io:format("early~n") after 1 -> io:format("timeout~n") end,
    receive tick -> io:format("tick~n") end,
    ports(),
    sockets(),
    files(),
    ets:new(table, [named_table, public]),
    Writers = [spawn_monitor(fun() -> ets:update_counter(table, key, 1, {key, 0}) end) || _ <- lists:seq(1, 100)],
    [receive {'DOWN', M, process, _, normal} -> ok end || {_, M} <- Writers],
    io:format("table ~p~n", [ets:lookup(table, key)]),
    garbage(200),
    io:format("schedulers ~p~n", [erlang:system_info(schedulers) > 0]),
    halt(5).

forward(Next) -> receive Message -> Next ! Message end.

ports() ->
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", "read line; echo got $line; exit 3"]}, exit_status, {line, 100}]),
    port_command(Port, "a line\n"),
    receive {Port, {data, Data}} -> io:format("~p~n", [Data]) end,
    receive {Port, {exit_status, Status}} -> io:format("exit ~p~n", [Status]) end,
    io:format("~s", [os:cmd("echo from a shell")]).

sockets() ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, line}, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Number} = inet:port(Listener),
    spawn_link(fun() -> accept(Listener) end),
    Self = self(),
    [spawn(fun() ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Number, [binary, {packet, line}, {active, false}]),
        ok = gen_tcp:send(Socket, [integer_to_list(N), "\n"]),
        {ok, Answer} = gen_tcp:recv(Socket, 0),
        Self ! {answer, N, Answer}
    end) || N <- lists:seq(1, 30)],
    Answers = [receive {answer, N, Answer} -> Answer end || N <- lists:seq(1, 30)],
    io:format("answers ~s~n", [[string:trim(Answer) || Answer <- Answers]]),
    io:format("~p~n", [gen_tcp:connect({127, 0, 0, 1}, 1, [])]).

accept(Listener) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} ->
            Handler = spawn(fun() -> receive go -> ok end, {ok, Line} = gen_tcp:recv(Socket, 0), gen_tcp:send(Socket, ["<", string:trim(Line), ">\n"]) end),
            ok = gen_tcp:controlling_process(Socket, Handler),
            Handler ! go,
            accept(Listener);
        _ -> ok
    end.

files() ->
    ok = file:write_file("erlang-file", lists:duplicate(1000, "line\n")),
    {ok, Data} = file:read_file("erlang-file"),
    io:format("~p ~p~n", [byte_size(Data), file:read_file("missing")]),
    ok = file:make_dir("erlang-folder"),
    io:format("~p~n", [file:make_dir("erlang-folder")]),
    ok = file:rename("erlang-file", "erlang-folder/file"),
    io:format("~p~n", [file:list_dir("erlang-folder")]),
    ok = file:delete("erlang-folder/file"),
    ok = file:del_dir("erlang-folder").

garbage(0) -> ok;
garbage(N) -> _ = lists:seq(1, 10000), _ = binary:copy(<<"x">>, 100000), garbage(N - 1).
