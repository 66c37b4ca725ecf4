-- timeout: 60
-- Coroutines, pipes, files, errors, garbage collection.
local function generate(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i) end end) end
local sum = 0
for square in generate(100) do sum = sum + square end
print(sum, math.type(sum), 7 // 2, 7 / 2, 1 << 40)

local pipe = io.popen("cat > lua-file; echo done", "w")
pipe:write(string.rep("line\n", 10000))
print(pipe:close())
local count = 0
for line in io.lines("lua-file") do count = count + #line end
print(count)
local reader = io.popen("wc -l < lua-file; exit 3")
print(reader:read("a"))
print(reader:close())
print(os.execute("kill -9 $$"))
print(io.open("missing"))
print(os.rename("lua-file", "lua-other"), os.remove("lua-other"), os.remove("lua-other"))
local file = io.tmpfile()
file:write("temporary")
file:seek("set", 4)
print(file:read("a"), file:seek("end"))
print(select(2, pcall(error, { code = 7 })).code)
print(select(2, pcall(function() return nil + 1 end)))
local function deep(n) return 1 + deep(n + 1) end
print(pcall(deep, 1) == false)
local kept = setmetatable({}, { __mode = "v" })
for i = 1, 200000 do kept[i % 100] = { string.rep("x", i % 50) } end
collectgarbage()
print(next(kept) == nil, collectgarbage("count") < 10000)
print(string.format("%5.2f|%q|%s", math.pi, "a\nb", ("abc"):rep(3, ",")), #utf8.char(0x65e5, 0x672c))
print(os.getenv("NO_SUCH_VARIABLE"), os.time({ year = 2020, month = 1, day = 1, hour = 12 }), os.date("!%F", 86400))
local start = os.clock()
while os.clock() - start < 0.05 do end
print("time goes on")
os.exit(5, true)
