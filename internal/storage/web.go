// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// client talks to a web server.
type client struct {
	http   *http.Client
	header http.Header
}

const maxListing = 32 << 20

func newClient(t trust) *client {
	c := &client{http: &http.Client{Transport: newTransport(t)}, header: http.Header{}}
	c.http.CheckRedirect = c.follow
	return c
}

// follow follows redirects, with the range that is wanted. Headers that are for
// one host do not go to another: they may be credentials.
func (c *client) follow(request *http.Request, via []*http.Request) error {
	const most = 10
	if len(via) >= most {
		return errors.New("too many redirects")
	}
	if wanted := via[0].Header.Get("Range"); wanted != "" {
		request.Header.Set("Range", wanted)
	}
	if request.URL.Host != via[0].URL.Host {
		for name := range c.header {
			request.Header.Del(name)
		}
	}
	return nil
}

func (c *client) do(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	for _, values := range []http.Header{c.header, header} {
		maps.Copy(request.Header, values)
	}
	answer, err := c.http.Do(request)
	if failed, is := errors.AsType[*url.Error](err); is {
		failed.URL = Redacted(failed.URL)
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		_ = answer.Body.Close()
		return nil, statusError{answer.StatusCode}
	}
	return answer, nil
}

// read reads a range of what is at an address, if it still has the tag that it was listed with.
func (c *client) read(ctx context.Context, address string, object Object, offset, length int64) (io.ReadCloser, error) {
	header := http.Header{}
	isRange := offset > 0 || length >= 0 && !object.Whole
	if isRange {
		wanted := fmt.Sprintf("bytes=%d-", offset)
		if length >= 0 {
			wanted += fmt.Sprint(offset + length - 1)
		}
		header.Set("Range", wanted)
	}
	answer, err := c.do(ctx, http.MethodGet, address, header)
	if err != nil {
		return nil, fail(object.Name, err)
	}
	switch {
	case isRange && answer.StatusCode != http.StatusPartialContent:
		err = &Error{Kind: Unreachable, Object: object.Name, Err: errors.New("the server has sent the whole instead of a range")}
	case object.Tag != "" && answer.Header.Get("ETag") != object.Tag:
		err = changed(object)
	default:
		return answer.Body, nil
	}
	return nil, errors.Join(err, answer.Body.Close())
}

// Close implements [Source].
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// web is a source at one address.
type web struct {
	*client
	uri string
}

// openWeb takes the headers that KServe takes, out of a variable with the name
// of the host, such as example.com-headers.
func openWeb(uri string, env Environment) (Source, error) {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Host == "" {
		return nil, invalid(uri, "it is not an address; write https://host/path")
	}
	source := &web{client: newClient(trust{anybody: env.isOff("HTTPS_VERIFY_SSL")}), uri: uri}
	if given := env(parsed.Host + "-headers"); given != "" {
		headers := map[string]string{}
		if err := json.Unmarshal([]byte(given), &headers); err != nil {
			return nil, invalid(uri, "the headers for %s are not a JSON object of names and values", parsed.Host)
		}
		for name, value := range headers {
			source.header.Set(name, value)
		}
	}
	return source, nil
}

// List implements [Source]: it asks what there is to be read, and whether in
// ranges. An address that is signed for reading may refuse to be asked with HEAD,
// and so the first byte is read then.
func (w *web) List(ctx context.Context) ([]Object, error) {
	answer, err := w.do(ctx, http.MethodHead, w.uri, nil)
	if status := statusOf(err); status >= http.StatusBadRequest && status < http.StatusInternalServerError || status == http.StatusNotImplemented {
		answer, err = w.do(ctx, http.MethodGet, w.uri, http.Header{"Range": {"bytes=0-0"}})
	}
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable { // It is empty.
		return []Object{{Name: w.name(), Key: w.uri, Size: unknownSize, Whole: true, Alone: true}}, nil
	}
	if err != nil {
		return nil, fail(w.uri, err)
	}
	_ = answer.Body.Close()
	tag := answer.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) {
		tag = "" // It does not tell versions apart byte by byte.
	}
	size, inRanges := answer.ContentLength, answer.Header.Get("Accept-Ranges") == "bytes"
	if answer.StatusCode == http.StatusPartialContent {
		size, inRanges = totalOf(answer.Header.Get("Content-Range")), true
	}
	return []Object{{
		Name: w.name(), Key: w.uri, Size: size, Alone: true,
		Tag: tag, Version: cmp.Or(tag, answer.Header.Get("Last-Modified")),
		// Without a tag, nothing would show that two ranges are of two versions.
		Whole: !inRanges || size < 0 || tag == "",
	}}, nil
}

// totalOf is the length of the whole that a Content-Range, such as bytes 0-0/1234, is of.
func totalOf(contentRange string) int64 {
	_, total, _ := strings.Cut(contentRange, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return unknownSize // A star, or nothing.
	}
	return size
}

// name is the last part of the path.
func (w *web) name() string {
	parsed, err := url.Parse(w.uri)
	if err != nil {
		return "model"
	}
	if name := path.Base(parsed.Path); name != "/" && name != "." && !strings.Contains(name, "\\") {
		return name
	}
	return "model"
}

// Read implements [Source].
func (w *web) Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	return w.read(ctx, w.uri, object, offset, length)
}
