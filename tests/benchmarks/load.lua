-- wrk's script: POSTs the lines of a file in turn and prints what came of it as one line of JSON.
-- Arguments behind `--`: the file, and after how many answers to stop (0: when the time is over).

local requests, count, place = {}, 0, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format("POST", nil, headers, body)
  end
  local most, answered = tonumber(args[2]), 0
  if most > 0 then -- only then: wrk is slower with this function
    response = function()
      answered = answered + 1
      if answered >= most then wrk.thread:stop() end
    end
  end
end

function request()
  place = place % count + 1
  return requests[place]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,' ..
    '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
