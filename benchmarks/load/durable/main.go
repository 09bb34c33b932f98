// A load generator for servers of the Durable Streams protocol, which knows no more than the protocol: it appends,
// fills, reads and follows one stream. It prints one JSON object.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync/atomic"
	"time"
)

const (
	patience  = 60 * time.Second
	settling  = 5 * time.Second // so long the last of the messages sent steadily are waited for
	dialling  = 64              // so many followers are being let in at once
	forBodies = 256 << 10
	binary    = "application/octet-stream"
	asJSON    = "application/json"
	marked    = '@' // in a message, and nowhere else in an event
)

// message has a hundred bytes.
var message = []byte(`"` + string(marked) + strings.Repeat("x", 97) + `"`)

// report is what one mode has found out; times are seconds.
type report struct {
	Seconds float64   `json:"seconds"`
	Count   int       `json:"count"`   // requests answered; of followers, messages due
	Missing int       `json:"missing"` // messages sent steadily and not delivered
	Bytes   int64     `json:"bytes"`
	Took    []float64 `json:"took"`  // p50 and p99, until a request was answered, or a message delivered
	Flood   float64   `json:"flood"` // messages delivered a second when they are sent as fast as they are taken
}

// client is one connection, which asks one thing after another.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
	target *url.URL
}

func dial(target *url.URL) (*client, error) {
	conn, err := net.DialTimeout("tcp", target.Host, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return &client{conn, bufio.NewReaderSize(conn, 4096), target}, nil
}

// ask sends one request in one write, and returns the head of its answer.
func (c *client) ask(method, query, contentType string, body []byte) (*http.Response, error) {
	head := fmt.Sprintf("%s %s%s HTTP/1.1\r\nHost: %s\r\n", method, c.target.Path, query, c.target.Host)
	if method != http.MethodGet {
		head += fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", contentType, len(body))
	}
	if _, err := c.conn.Write(append([]byte(head+"\r\n"), body...)); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err == nil && response.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s answered %s", method, c.target.Path, response.Status)
	}
	return response, err
}

// tell is a request whose answer has nothing to read.
func (c *client) tell(method, contentType string, body []byte) error {
	response, err := c.ask(method, "", contentType, body)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	return err
}

// create makes the stream, and returns a connection to it.
func create(target *url.URL, contentType string) (*client, error) {
	c, err := dial(target)
	if err == nil {
		err = c.tell(http.MethodPut, contentType, nil)
	}
	return c, err
}

// appendAll lets some connections append for some seconds, each as soon as it was answered.
func appendAll(target *url.URL, connections int, size int, seconds time.Duration) (*report, error) {
	if _, err := create(target, binary); err != nil {
		return nil, err
	}
	body := bytes.Repeat([]byte("x"), size)
	took := make([][]float64, connections)
	begun := time.Now()
	err := together(connections, func(n int) error {
		c, err := dial(target)
		for last := time.Now(); err == nil && last.Sub(begun) < seconds; {
			err = c.tell(http.MethodPost, binary, body)
			now := time.Now()
			took[n] = append(took[n], now.Sub(last).Seconds())
			last = now
		}
		return err
	})
	spent := time.Since(begun).Seconds()
	count, quantiles := summary(took)
	return &report{Seconds: spent, Count: count, Bytes: int64(count * size), Took: quantiles}, err
}

// fill appends to a stream until it has so many bytes, a piece at a time; as JSON, a piece is an array of messages.
func fill(target *url.URL, contentType string, size int64, piece int) (*report, error) {
	c, err := create(target, contentType)
	if err != nil {
		return nil, err
	}
	body := bytes.Repeat([]byte("x"), piece)
	if contentType == asJSON {
		body = array(piece)
	}
	result := &report{}
	begun := time.Now()
	for result.Bytes < size {
		if err := c.tell(http.MethodPost, contentType, body); err != nil {
			return nil, err
		}
		result.Count++
		result.Bytes += int64(len(body))
	}
	result.Seconds = time.Since(begun).Seconds()
	return result, nil
}

// array has messages of a hundred bytes, and as many as fit.
func array(size int) []byte {
	messages := bytes.Repeat(append(message, ','), size/(len(message)+1))
	messages[len(messages)-1] = ']'
	return append([]byte{'['}, messages...)
}

// read reads a stream from its beginning until it is up to date.
func read(target *url.URL) (*report, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	result := &report{}
	buffer := make([]byte, forBodies)
	begun := time.Now()
	for offset := "-1"; ; {
		response, err := c.ask(http.MethodGet, "?offset="+offset, "", nil)
		if err != nil {
			return nil, err
		}
		size, err := io.CopyBuffer(writer{io.Discard}, response.Body, buffer)
		if err != nil {
			return nil, err
		}
		result.Count++
		result.Bytes += size
		if response.Header.Get("Stream-Up-To-Date") == "true" {
			result.Seconds = time.Since(begun).Seconds()
			return result, nil
		}
		offset = response.Header.Get("Stream-Next-Offset")
	}
}

// writer hides what io.Discard knows better than the buffer it is given.
type writer struct{ io.Writer }

// follower is one reader of a live stream, and when each message came to it.
type follower struct {
	client   *client
	body     io.Reader
	arrivals []time.Time
}

// enter asks for events, and returns when the first has come.
func enter(target *url.URL) (*follower, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	response, err := c.ask(http.MethodGet, "?offset=-1&live=sse", "", nil)
	if err != nil {
		return nil, err
	}
	_, err = response.Body.Read(make([]byte, 1024))
	return &follower{client: c, body: response.Body}, err
}

func enterAll(target *url.URL, followers int) ([]*follower, error) {
	all := make([]*follower, followers)
	slots := make(chan struct{}, dialling)
	return all, together(followers, func(n int) (err error) {
		slots <- struct{}{}
		all[n], err = enter(target)
		<-slots
		return err
	})
}

// run reads until the connection is closed.
func (f *follower) run(delivered *int64) error {
	buffer := make([]byte, 2048)
	for {
		count, err := f.body.Read(buffer)
		now := time.Now()
		came := bytes.Count(buffer[:count], []byte{marked})
		for n := 0; n < came; n++ {
			f.arrivals = append(f.arrivals, now)
		}
		atomic.AddInt64(delivered, int64(came))
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// follow lets followers in on a new stream, sends messages at a steady rate, and, if all of them have come, some more
// as fast as they are taken.
func follow(target *url.URL, followers int, rate float64, steady, flood time.Duration) (*report, error) {
	c, err := create(target, asJSON)
	if err != nil {
		return nil, err
	}
	all, err := enterAll(target, followers)
	if err != nil {
		return nil, err
	}
	var delivered int64
	over := make(chan error)
	go func() { over <- together(followers, func(n int) error { return all[n].run(&delivered) }) }()

	dues := schedule(rate, steady)
	until := dues[0].Add(steady + settling)
	err = c.sendWhenDue(dues, until)
	for err == nil && int(atomic.LoadInt64(&delivered)) < len(dues)*followers && time.Now().Before(until) {
		time.Sleep(time.Millisecond)
	}
	result := &report{Missing: len(dues)*followers - int(atomic.LoadInt64(&delivered))}
	ended := time.Now()
	if result.Missing == 0 {
		before := atomic.LoadInt64(&delivered)
		err = c.sendUntil(ended.Add(flood))
		result.Flood = float64(atomic.LoadInt64(&delivered)-before) / time.Since(ended).Seconds()
	}
	for _, each := range all {
		each.client.conn.Close()
	}
	if failed := <-over; err == nil {
		err = failed
	}
	result.Count, result.Took = summary(lateness(all, dues, ended))
	return result, err
}

func schedule(rate float64, steady time.Duration) []time.Time {
	var dues []time.Time
	begin := time.Now()
	every := time.Duration(float64(time.Second) / rate)
	for after := time.Duration(0); after < steady; after += every {
		dues = append(dues, begin.Add(after))
	}
	return dues
}

// sendWhenDue sends each message when it is due, or as soon as the one before it was acknowledged; some not at all,
// when that takes too long.
func (c *client) sendWhenDue(dues []time.Time, until time.Time) error {
	c.conn.SetDeadline(until)
	defer c.conn.SetDeadline(time.Now().Add(patience))
	for _, due := range dues {
		time.Sleep(time.Until(due))
		if err := c.tell(http.MethodPost, asJSON, message); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (c *client) sendUntil(end time.Time) error {
	for time.Now().Before(end) {
		if err := c.tell(http.MethodPost, asJSON, message); err != nil {
			return err
		}
	}
	return nil
}

// lateness is how long after it was due each message came; one that did not is as late as it is by the end.
func lateness(all []*follower, dues []time.Time, ended time.Time) [][]float64 {
	late := make([][]float64, len(all))
	for n, each := range all {
		for m, due := range dues {
			came := ended
			if m < len(each.arrivals) {
				came = each.arrivals[m]
			}
			late[n] = append(late[n], came.Sub(due).Seconds())
		}
	}
	return late
}

// together does something so many times at once, and returns the first failure.
func together(times int, each func(n int) error) error {
	failures := make(chan error, times)
	for n := 0; n < times; n++ {
		go func(n int) { failures <- each(n) }(n)
	}
	var first error
	for n := 0; n < times; n++ {
		if err := <-failures; first == nil {
			first = err
		}
	}
	return first
}

// summary is how many values there are, and their median and 99th percentile.
func summary(parts [][]float64) (int, []float64) {
	var values []float64
	for _, part := range parts {
		values = append(values, part...)
	}
	if len(values) == 0 {
		return 0, []float64{}
	}
	sort.Float64s(values)
	at := func(share float64) float64 { return values[int(share*float64(len(values)-1))] }
	return len(values), []float64{at(0.50), at(0.99)}
}

func main() {
	mode := flag.String("mode", "append", "append, fill, read or follow")
	address := flag.String("url", "", "of the stream; all but `read` create it")
	seconds := flag.Float64("seconds", 1, "how long to append, or to send steadily")
	clients := flag.Int("clients", 1, "how many append, or follow")
	size := flag.Int64("size", 100, "bytes of one append, or of all that `fill` appends")
	piece := flag.Int("piece", 65536, "bytes of one append of `fill`")
	kind := flag.String("type", binary, "Content-Type of what `fill` appends")
	rate := flag.Float64("rate", 5, "messages a second that `follow` sends steadily")
	flood := flag.Float64("flood", 1, "seconds it then sends them as fast as they are taken")
	flag.Parse()
	target, err := url.Parse(*address)
	if err != nil || target.Host == "" {
		fmt.Fprintf(os.Stderr, "%q is no URL\n", *address)
		os.Exit(2)
	}

	steady := time.Duration(*seconds * float64(time.Second))
	var result *report
	switch *mode {
	case "append":
		result, err = appendAll(target, *clients, int(*size), steady)
	case "fill":
		result, err = fill(target, *kind, *size, *piece)
	case "read":
		result, err = read(target)
	case "follow":
		result, err = follow(target, *clients, *rate, steady, time.Duration(*flood*float64(time.Second)))
	default:
		err = fmt.Errorf("%q is no mode", *mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}
