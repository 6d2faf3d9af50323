// A counter of a shop: what a request costs and what a release gets wrong are flags and files, so that a release is its
// image. With -database it asks another one for its prices. It serves until it is asked to end, and then a little longer,
// so that nobody is sent away.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var errNoPrice = errors.New("there is no price")

// Checkout sells what its price list or its database has, a bounded number of things at a time.
type Checkout struct {
	prices   map[string]int
	database string
	slots    chan struct{}
	queue    chan struct{}
	work     atomic.Int64

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
	time.Sleep(time.Duration(c.work.Load()))
	price, err := c.price(request.Context(), request.URL.Query().Get("item"))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	c.file()
	fmt.Fprintf(answer, "%d\n", price)
}

// price is what an item costs, by the price list of the release or by the database.
func (c *Checkout) price(ctx context.Context, item string) (int, error) {
	if c.database == "" {
		if price, known := c.prices[item]; known {
			return price, nil
		}
		return 0, errNoPrice
	}
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, c.database+"?item="+url.QueryEscape(item), nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(asked)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, errNoPrice
	}
	var price int
	_, err = fmt.Fscan(answer.Body, &price)
	return price, err
}

// slow lets each request take as long as `work` says from now on, as a database does that has lost an index.
func (c *Checkout) slow(answer http.ResponseWriter, request *http.Request) {
	work, err := time.ParseDuration(request.FormValue("work"))
	if err != nil || request.Method != http.MethodPost {
		http.Error(answer, "expected POST with a duration `work`", http.StatusBadRequest)
		return
	}
	c.work.Store(int64(work))
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
	database := flag.String("database", "", "URL that is asked for prices instead of the price list")
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
	checkout := &Checkout{prices: prices, database: *database, slots: make(chan struct{}, *slots),
		queue: make(chan struct{}, *queue), keep: *keep, size: *size * 1024}
	checkout.work.Store(int64(*work))
	server := &http.Server{Addr: *address, ReadHeaderTimeout: 5 * time.Second}
	http.HandleFunc("/", checkout.sell)
	http.HandleFunc("/slow", checkout.slow)
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
