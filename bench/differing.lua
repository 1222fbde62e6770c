-- A browser's head in which one field is different each time: no two requests of a run are the same bytes.
local number = 0
local before, after

function init(args)
    local host = wrk.headers["Host"]
    before = "GET / HTTP/1.1\r\nHost: " .. host .. "\r\n"
        .. "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        .. "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        .. "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
        .. "Cookie: session=c2Vzc2lvbi1jb29raWUtb2YtYS12aXNpdG9y; theme=dark\r\nX-Request-Id: "
    after = "\r\n\r\n"
end

function request()
    number = number + 1
    return before .. number .. after
end
