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
	"strconv"
	"sync/atomic"
	"time"
)

const (
	patience  = 60 * time.Second
	settling  = 10 * time.Second // so long the last of the messages sent steadily are waited for
	dialling  = 64               // so many followers are being let in at once
	forBodies = 256 << 10
	binary    = "application/octet-stream"
	asJSON    = "application/json"
	stamped   = '@' // a message's time begins with it, and nothing else in an event does
	digits    = 19  // of that time: nanoseconds since 1970
)

// report is what one mode has found out; times are seconds.
type report struct {
	Seconds float64   `json:"seconds"`
	Count   int       `json:"count"`   // requests answered; of followers, messages delivered
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

// array has messages of a hundred bytes.
func array(size int) []byte {
	message := fmt.Sprintf("%q", bytes.Repeat([]byte("x"), 98))
	var messages []string
	for length := 0; length < size; length += len(message) + 1 {
		messages = append(messages, message)
	}
	return []byte("[" + join(messages) + "]")
}

func join(messages []string) string {
	var joined bytes.Buffer
	for n, message := range messages {
		if n > 0 {
			joined.WriteByte(',')
		}
		joined.WriteString(message)
	}
	return joined.String()
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

// delivery is when a message was due, and when one of the followers had it.
type delivery struct{ due, had time.Time }

// follower is one reader of a live stream.
type follower struct {
	client     *client
	body       io.Reader
	deliveries []delivery
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

// run notes each message, until the connection is closed; and counts them, for who waits for the last one.
func (f *follower) run(delivered *int64) error {
	buffer := make([]byte, 2048)
	stamp := make([]byte, 0, digits)
	begun := false
	for {
		count, err := f.body.Read(buffer)
		now := time.Now()
		for rest := buffer[:count]; len(rest) > 0; {
			if !begun {
				found := bytes.IndexByte(rest, stamped)
				if found < 0 {
					break
				}
				begun, rest = true, rest[found+1:]
			}
			taken := min(digits-len(stamp), len(rest))
			stamp, rest = append(stamp, rest[:taken]...), rest[taken:]
			if len(stamp) < digits {
				break
			}
			nanoseconds, _ := strconv.ParseInt(string(stamp), 10, 64)
			f.deliveries = append(f.deliveries, delivery{time.Unix(0, nanoseconds), now})
			atomic.AddInt64(delivered, 1)
			stamp, begun = stamp[:0], false
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// follow lets followers in on a new stream, sends messages at a steady rate, and then as fast as they are taken.
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

	sent, err := c.sendSteadily(rate, steady)
	until := time.Now().Add(settling)
	for atomic.LoadInt64(&delivered) < int64(sent*followers) && time.Now().Before(until) {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	for err == nil && time.Since(begun) < flood {
		err = c.tell(http.MethodPost, asJSON, message(time.Now()))
	}
	ended := time.Now()
	for _, each := range all {
		each.client.conn.Close()
	}
	if failed := <-over; err == nil {
		err = failed
	}
	return followed(all, sent*followers, begun, ended), err
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

// sendSteadily sends each message when it is due, or as soon as the one before it was acknowledged.
func (c *client) sendSteadily(rate float64, steady time.Duration) (int, error) {
	every := time.Duration(float64(time.Second) / rate)
	sent := 0
	for due := time.Now(); time.Duration(sent)*every < steady; sent++ {
		time.Sleep(time.Until(due))
		if err := c.tell(http.MethodPost, asJSON, message(due)); err != nil {
			return sent, err
		}
		due = due.Add(every)
	}
	return sent, nil
}

// message has a hundred bytes.
func message(due time.Time) []byte {
	return []byte(fmt.Sprintf("\"%c%0*d%078d\"", stamped, digits, due.UnixNano(), 0))
}

// followed sorts out what was sent steadily, and counts what of the flood came while it lasted.
func followed(all []*follower, expected int, begun, ended time.Time) *report {
	result := &report{Missing: expected}
	took := make([][]float64, len(all))
	flooded := 0
	for n, each := range all {
		for _, one := range each.deliveries {
			if one.due.Before(begun) {
				took[n] = append(took[n], one.had.Sub(one.due).Seconds())
			} else if one.had.Before(ended) {
				flooded++
			}
		}
	}
	result.Count, result.Took = summary(took)
	result.Missing -= result.Count
	if seconds := ended.Sub(begun).Seconds(); flooded > 0 {
		result.Flood = float64(flooded) / seconds
	}
	return result
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

func min(one, other int) int {
	if one < other {
		return one
	}
	return other
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
