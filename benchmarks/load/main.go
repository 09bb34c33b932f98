// A load generator that knows only URLs: many clients that each read a stream of timed lines, beside a few that
// watch a ticker. It prints one JSON object.
//
// The few are watched by a process of its own: one that reads from thousands at once would keep them waiting itself.
//
// Every line of the crowd's URL is expected a fixed time after the one before; how much later it came is its
// lateness. Every line of the ticker's is expected a fixed time after the last one came; how much later is its delay,
// and once the last client was let in, its delay in the calm.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sort"
	"sync"
	"syscall"
	"time"
)

const (
	dialling = 512                    // so many connections are being opened at once
	settling = 500 * time.Millisecond // the tickers are at it when the crowd comes
	calming  = 500 * time.Millisecond // after the last client came, its request was read
)

type report struct {
	Clients  int            `json:"clients"`
	Finished int            `json:"finished"`
	Seconds  float64        `json:"seconds"`
	Lateness []float64      `json:"lateness"` // p50 and p99, in seconds; empty when nothing came
	Delay    []float64      `json:"delay"`    // the ticker's
	Calm     []float64      `json:"calm"`     // the ticker's, since the last client was let in
	Failures map[string]int `json:"failures"`
}

type tally struct {
	sync.Mutex
	finished int
	lateness []float64
	lastIn   time.Time
	failures map[string]int
}

type tick struct {
	At    time.Time `json:"at"`
	Delay float64   `json:"delay"` // in seconds
}

type ticks struct {
	sync.Mutex
	Ticks    []tick         `json:"ticks"`
	Failures map[string]int `json:"failures"`
}

func (t *tally) failed(err error) {
	t.Lock()
	defer t.Unlock()
	t.failures[name(err)]++
}

// name is short, so that many failures of one kind are one line.
func name(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "ended"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "not finished in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "broken off"
	}
	return err.Error()
}

// ask connects and asks for a URL; the connection works until the deadline.
func ask(target *url.URL, deadline time.Time, slots chan struct{}) (net.Conn, error) {
	slots <- struct{}{}
	conn, err := net.DialTimeout("tcp", target.Host, time.Until(deadline))
	<-slots
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(deadline)
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target.RequestURI(), target.Host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// follow reads the answer to its end, and calls each for every line.
func follow(conn net.Conn, each func()) error {
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d", response.StatusCode)
	}
	buffer := make([]byte, 512)
	for {
		count, err := response.Body.Read(buffer)
		for _, character := range buffer[:count] {
			if character == '\n' {
				each()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) entered() {
	t.Lock()
	defer t.Unlock()
	t.lastIn = time.Now()
}

// visit is one client of the crowd.
func (t *tally) visit(target *url.URL, items int, every time.Duration, deadline time.Time, slots chan struct{}) {
	lateness := make([]float64, 0, items)
	conn, err := ask(target, deadline, slots)
	if err == nil {
		defer conn.Close()
		t.entered()
		asked := time.Now()
		err = follow(conn, func() {
			due := asked.Add(time.Duration(len(lateness)+1) * every)
			lateness = append(lateness, time.Since(due).Seconds())
		})
	}
	if err == nil && len(lateness) != items {
		err = fmt.Errorf("%d lines instead of %d", len(lateness), items)
	}
	if err != nil {
		t.failed(err)
	}
	t.Lock()
	defer t.Unlock()
	t.lateness = append(t.lateness, lateness...)
	if err == nil {
		t.finished++
	}
}

// watch follows a ticker until it is over. A tick that has not come by then is as late as it is by then.
func (t *ticks) watch(target *url.URL, every time.Duration, begin time.Time, over chan struct{}, slots chan struct{}) {
	var seen []tick
	last := time.Now()
	ticked := func() {
		now := time.Now()
		if now.After(begin) {
			seen = append(seen, tick{now, (now.Sub(last) - every).Seconds()})
		}
		last = now
	}
	conn, err := ask(target, begin.Add(time.Hour), slots)
	if err == nil {
		go func() {
			<-over
			conn.Close()
		}()
		err = follow(conn, ticked)
	}
	failed := ""
	select {
	case <-over:
	default:
		failed = fmt.Sprintf("ticker: %s", name(err))
		<-over
	}
	if time.Since(last) > every {
		ticked()
	}
	t.Lock()
	defer t.Unlock()
	t.Ticks = append(t.Ticks, seen...)
	if failed != "" {
		t.Failures[failed]++
	}
}

// delays are those of the ticks since a moment.
func (t *ticks) delays(since time.Time) []float64 {
	var found []float64
	for _, each := range t.Ticks {
		if each.At.After(since) {
			found = append(found, each.Delay)
		}
	}
	return found
}

// watchers is the process that watches the tickers, until its standard input ends.
func watchers(target *url.URL, count int, every time.Duration, begin time.Time) {
	result := &ticks{Ticks: []tick{}, Failures: map[string]int{}}
	over := make(chan struct{})
	slots := make(chan struct{}, dialling)
	var watching sync.WaitGroup
	watching.Add(count)
	for n := 0; n < count; n++ {
		go func() {
			defer watching.Done()
			result.watch(target, every, begin, over, slots)
		}()
	}
	io.Copy(io.Discard, os.Stdin)
	close(over)
	watching.Wait()
	json.NewEncoder(os.Stdout).Encode(result)
}

// watched starts that process; what it returns ends it and gives what was seen.
func watched() (func() *ticks, error) {
	watching := exec.Command(os.Args[0], append(os.Args[1:], "--watch")...)
	watching.Stderr = os.Stderr
	over, err := watching.StdinPipe()
	if err != nil {
		return nil, err
	}
	told, err := watching.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := watching.Start(); err != nil {
		return nil, err
	}
	return func() *ticks {
		over.Close()
		seen := &ticks{}
		if err := json.NewDecoder(told).Decode(seen); err != nil {
			fmt.Fprintf(os.Stderr, "the tickers' process: %s\n", err)
			os.Exit(1)
		}
		watching.Wait()
		return seen
	}, nil
}

func quantiles(values []float64) []float64 {
	if len(values) == 0 {
		return []float64{}
	}
	sort.Float64s(values)
	at := func(share float64) float64 {
		found := values[int(share*float64(len(values)-1))]
		if found < 0 {
			return 0
		}
		return found
	}
	return []float64{at(0.50), at(0.99)}
}

func seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }

func parsed(address string) *url.URL {
	target, err := url.Parse(address)
	if err != nil || target.Host == "" {
		fmt.Fprintf(os.Stderr, "%q is no URL\n", address)
		os.Exit(2)
	}
	return target
}

func main() {
	crowd := flag.String("crowd", "", "URL of a stream of timed lines")
	clients := flag.Int("clients", 100, "how many read it")
	items := flag.Int("items", 5, "how many lines it has")
	every := flag.Float64("every", 1, "seconds before each line")
	ticker := flag.String("ticker", "", "URL of an endless stream of timed lines")
	tickers := flag.Int("tickers", 20, "how many watch it")
	tick := flag.Float64("tick", 0.05, "seconds before each tick")
	limit := flag.Float64("limit", 30, "seconds after which everybody leaves")
	watch := flag.Bool("watch", false, "only watch the ticker, until standard input ends")
	flag.Parse()

	started := time.Now()
	if *ticker != "" {
		started = started.Add(settling)
	}
	if *watch {
		watchers(parsed(*ticker), *tickers, seconds(*tick), started)
		return
	}
	seen := func() *ticks { return &ticks{} }
	if *ticker != "" {
		var err error
		if seen, err = watched(); err != nil {
			fmt.Fprintf(os.Stderr, "the tickers' process cannot be started: %s\n", err)
			os.Exit(1)
		}
		time.Sleep(time.Until(started))
	}

	result := &tally{failures: map[string]int{}}
	slots := make(chan struct{}, dialling)
	var visiting sync.WaitGroup
	target := parsed(*crowd)
	visiting.Add(*clients)
	for n := 0; n < *clients; n++ {
		go func() {
			defer visiting.Done()
			result.visit(target, *items, seconds(*every), started.Add(seconds(*limit)), slots)
		}()
	}
	visiting.Wait()
	took := time.Since(started).Seconds()
	ticks := seen()
	for why, count := range ticks.Failures {
		result.failures[why] += count
	}

	json.NewEncoder(os.Stdout).Encode(report{
		Clients: *clients, Finished: result.finished, Seconds: took, Lateness: quantiles(result.lateness),
		Delay: quantiles(ticks.delays(started)), Calm: quantiles(ticks.delays(result.lastIn.Add(calming))),
		Failures: result.failures,
	})
}
