<?php
// A backend in PHP publishes, calls and listens, by streams and, where PHP has it, by the extension
// curl; run.sh says where. Closes with `N passed, N failed`.

[$web, $key] = [getenv("WEB"), getenv("KEY")];
[$passed, $failed] = [0, 0];

function check(string $name, mixed $found, mixed $expected): void
{
    global $passed, $failed;
    if ($found === $expected) {
        $passed += 1;
        echo "ok   $name\n";
    } else {
        $failed += 1;
        echo "FAIL $name: " . json_encode($found) . " is not " . json_encode($expected) . "\n";
    }
}

// As docs/http.md has it.
function post_by_stream(string $url, array $message, string $key): mixed
{
    $body = json_encode($message);
    $context = stream_context_create(["http" => [
        "method" => "POST", "content" => $body, "ignore_errors" => true, "timeout" => 10,
        "header" => "Content-Type: application/json\r\nAuthorization: Bearer $key",
    ]]);
    return json_decode(file_get_contents($url, false, $context), true);
}

function post_by_curl(string $url, array $message, string $key): mixed
{
    $request = curl_init($url);
    curl_setopt_array($request, [
        CURLOPT_POSTFIELDS => json_encode($message),
        CURLOPT_HTTPHEADER => ["Content-Type: application/json", "Authorization: Bearer $key"],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 10,
    ]);
    return json_decode(curl_exec($request), true);
}

// The next event of a stream: its id and its data.
function next_event($stream): array
{
    $id = null;
    while (($line = fgets($stream)) !== false) {
        if (str_starts_with($line, "id: ")) {
            $id = (int) substr($line, 4);
        } elseif (str_starts_with($line, "data: ")) {
            return [$id, json_decode(substr($line, 6), true)];
        }
    }
    return [$id, null];
}

$ways = ["streams" => "post_by_stream"];
if (extension_loaded("curl")) {
    $ways["curl"] = "post_by_curl";
}
// In both versions of HTTP: PHP's streams ask in the older one unless they are told.
foreach ([1.0, 1.1] as $version) {
    $options = ["protocol_version" => $version, "timeout" => 10, "header" => "Connection: close"];
    $context = stream_context_create(["http" => $options]);
    $events = fopen("http://$web/events?topic=com.example.php", "r", false, $context);
    check("listens, HTTP/$version", trim(fgets($events)), "retry: 3000");
    foreach ($ways as $name => $post) {
        $text = str_repeat("Grüße und \"Zeichen\"\n", 500);
        $message = ["topic" => "com.example.php", "args" => [17, $text], "kwargs" => ["a" => null]];
        $answer = $post("http://$web/backend", $message, $key);
        check("publishes by $name", is_int($answer["id"] ?? null), true);
        [$id, $data] = next_event($events);
        check("hears it, HTTP/$version", $id, $answer["id"] ?? null);
        check("hears the arguments", $data["args"] ?? null, [17, $text]);
        check("hears the keywords", $data["kwargs"] ?? null, ["a" => null]);
        $call = ["procedure" => "com.example.add", "args" => [2, 3]];
        check("calls by $name", $post("http://$web/call", $call, $key), ["args" => [5]]);
        $refused = $post("http://$web/backend", ["topic" => "com.example.php"], "wrong");
        check("a wrong key is refused", isset($refused["error"]), true);
    }
    fclose($events);
}

echo "$passed passed, $failed failed\n";
exit($failed ? 1 : 0);
