#!/usr/bin/env escript
%%! +P 2000000 +sbwt none -kernel logger_level none
%% What Erlang/OTP does on this machine, as a baseline in the same run. Prints one JSON object.
%% usage: erlang.escript tell AGENTS IN_FLIGHT MILLISECONDS | restart CRASHES | storm AGENTS SUPERVISORS ROUNDS
-mode(compile).
-export([init/1, child/2]).

main(["tell", Agents, InFlight, Time]) -> tell(list_to_integer(Agents), list_to_integer(InFlight), list_to_integer(Time));
main(["restart", Crashes]) -> restart(list_to_integer(Crashes));
main(["storm", Agents, Supervisors, Rounds]) -> storm(list_to_integer(Agents), list_to_integer(Supervisors), list_to_integer(Rounds)).

%% N processes, each passes what it gets to another at random; 64 bytes.
tell(N, InFlight, Time) ->
    Count = counters:new(1, [write_concurrency]),
    Pids = [spawn(fun() -> receive go -> hop(persistent_term:get(all), N, Count, 1) end end) || _ <- lists:seq(1, N)],
    persistent_term:put(all, list_to_tuple(Pids)), % shared: a copy each would be most of the memory
    [P ! go || P <- Pids],
    Body = list_to_binary(lists:duplicate(64, $x)),
    [lists:nth((I rem N) + 1, Pids) ! {hop, Body} || I <- lists:seq(1, InFlight)],
    timer:sleep(700),
    Before = counters:get(Count, 1),
    {Cpu, _} = erlang:statistics(runtime),
    Began = erlang:monotonic_time(microsecond),
    timer:sleep(Time),
    Hops = counters:get(Count, 1) - Before,
    Rate = Hops * 1000000 div (erlang:monotonic_time(microsecond) - Began),
    {Used, _} = erlang:statistics(runtime),
    io:format("{\"per_second\":~b,\"cpu_ns_each\":~b}~n", [Rate, (Used - Cpu) * 1000000 div Hops]).

hop(All, N, Count, Mine) ->
    receive
        {hop, Body} ->
            case Mine rem 16 of 0 -> counters:add(Count, 1, 16); _ -> ok end,
            element(rand:uniform(N), All) ! {hop, Body},
            hop(All, N, Count, Mine + 1)
    end.

%% From the exit to the first moment of the next life, under one_for_one.
restart(Crashes) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, {self(), 1}),
    unlink(Supervisor),
    Took = crash(Crashes, alive(), []),
    print(Took).

crash(0, _, Took) -> Took;
crash(N, Pid, Took) ->
    Began = erlang:monotonic_time(nanosecond),
    Pid ! crash,
    Next = alive(),
    crash(N - 1, Next, [(erlang:monotonic_time(nanosecond) - Began) / 1000 | Took]).

alive() -> receive {alive, Pid} -> Pid end.

%% All children of all supervisors crash at once; until the last is back.
storm(Agents, Supervisors, Rounds) ->
    [supervisor:start_link(?MODULE, {self(), Agents div Supervisors}) || _ <- lists:seq(1, Supervisors)],
    print(rounds(Rounds, [alive() || _ <- lists:seq(1, Agents)], [])).

rounds(0, _, Took) -> Took;
rounds(N, Pids, Took) ->
    timer:sleep(1500),
    Began = erlang:monotonic_time(nanosecond),
    [P ! crash || P <- Pids],
    Next = [alive() || _ <- Pids],
    rounds(N - 1, Next, [(erlang:monotonic_time(nanosecond) - Began) / 1000 | Took]).

init({Owner, Children}) ->
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1},
          [#{id => I, start => {?MODULE, child, [Owner, I]}} || I <- lists:seq(1, Children)]}}.

child(Owner, _) ->
    {ok, proc_lib:spawn_link(fun() -> Owner ! {alive, self()}, receive crash -> exit(crashed) end end)}.

print(Took) ->
    Sorted = lists:sort(Took),
    At = fun(Q) -> lists:nth(min(length(Sorted), trunc(length(Sorted) * Q) + 1), Sorted) end,
    io:format("{\"p50_us\":~.1f,\"p99_us\":~.1f}~n", [At(0.5), At(0.99)]).
