// Go's net/http: each item is flushed by itself, as a stream's items must be. A goroutine is neither synchronous nor
// asynchronous, so both of the Python peers' paths are the same here.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// numbers reads COUNT and a second number off a path like /items/COUNT/SIZE.
func numbers(path string) (count, second int, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 4 {
		return 0, 0, false
	}
	count, wrongCount := strconv.Atoi(parts[2])
	second, wrongSecond := strconv.Atoi(parts[3])
	return count, second, wrongCount == nil && wrongSecond == nil
}

func stream(step func(w http.ResponseWriter, n, second int) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		count, second, ok := numbers(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		flusher := w.(http.Flusher)
		for n := 0; n < count && r.Context().Err() == nil; n++ {
			if step(w, n, second) != nil {
				return
			}
			flusher.Flush()
		}
	}
}

var filler = bytes.Repeat([]byte("x"), 1<<20)

func item(w http.ResponseWriter, _, size int) error {
	_, gone := w.Write(filler[:size])
	return gone
}

func line(w http.ResponseWriter, n, ms int) error {
	time.Sleep(time.Duration(ms) * time.Millisecond)
	_, gone := fmt.Fprintf(w, "item %d\n", n)
	return gone
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address and port")
	flag.Parse()
	for path, step := range map[string]func(http.ResponseWriter, int, int) error{
		"/sync/": item, "/asynchronous/": item, "/sleep/": line, "/asleep/": line,
	} {
		http.HandleFunc(path, stream(step))
	}
	log.Fatal(http.ListenAndServe(*listen, nil))
}
