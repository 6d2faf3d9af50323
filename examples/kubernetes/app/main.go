// The checkout of a shop: what a request costs and what a release gets wrong are flags and files, so that a release is
// its image. It serves until it is asked to end, and then a little longer, so that nobody is sent away.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Checkout sells what its price list has, a bounded number of things at a time.
type Checkout struct {
	prices map[string]int
	slots  chan struct{}
	queue  chan struct{}
	work   time.Duration

	guard    sync.Mutex
	receipts [][]byte
	keep     int
	size     int
	sold     int
}

func (c *Checkout) sell(answer http.ResponseWriter, request *http.Request) {
	select {
	case c.queue <- struct{}{}:
		defer func() { <-c.queue }()
	default:
		http.Error(answer, "too many are waiting", http.StatusServiceUnavailable)
		return
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-request.Context().Done():
		return
	}
	time.Sleep(c.work)
	price, known := c.prices[request.URL.Query().Get("item")]
	if !known {
		http.Error(answer, "there is no price", http.StatusInternalServerError)
		return
	}
	c.file()
	fmt.Fprintf(answer, "%d\n", price)
}

// file keeps a receipt in memory: of the last ones, or of all of them when none is ever dropped.
func (c *Checkout) file() {
	receipt := make([]byte, c.size)
	for at := 0; at < len(receipt); at += 1024 {
		receipt[at] = 1
	}
	c.guard.Lock()
	defer c.guard.Unlock()
	c.sold++
	if c.keep == 0 || len(c.receipts) < c.keep {
		c.receipts = append(c.receipts, receipt)
	} else {
		c.receipts[c.sold%c.keep] = receipt
	}
}

func main() {
	address := flag.String("listen", ":8080", "where it listens")
	list := flag.String("prices", "/prices.json", "price list of the release")
	slots := flag.Int("slots", 1, "requests that are worked on at a time")
	queue := flag.Int("queue", 64, "requests that may be there at a time")
	work := flag.Duration("work", 100*time.Millisecond, "how long a request is worked on")
	keep := flag.Int("receipts", 32, "receipts that are kept in memory; 0 drops none, which leaks")
	size := flag.Int("receipt-kib", 512, "size of a receipt")
	linger := flag.Duration("linger", 1500*time.Millisecond, "how long it serves after it was asked to end")
	flag.Parse()

	content, err := os.ReadFile(*list)
	if err != nil {
		log.Fatal(err)
	}
	prices := map[string]int{}
	if err := json.Unmarshal(content, &prices); err != nil {
		log.Fatalf("%s: %v", *list, err)
	}
	checkout := &Checkout{prices: prices, slots: make(chan struct{}, *slots), queue: make(chan struct{}, *queue),
		work: *work, keep: *keep, size: *size * 1024}
	server := &http.Server{Addr: *address, ReadHeaderTimeout: 5 * time.Second}
	http.HandleFunc("/", checkout.sell)
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprintln(answer, "ok") })

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	drained := make(chan struct{})
	go func() {
		<-ended
		time.Sleep(*linger)
		_ = server.Shutdown(context.Background())
		close(drained)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-drained
}
