// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

type hub struct {
	*client
	endpoint, repository, revision string
}

const defaultHub = "https://huggingface.co"

// openHub opens hf://<organisation>/<model>[:<revision>].
func openHub(rest string, env Environment) (Source, error) {
	repository, revision, _ := strings.Cut(rest, ":")
	repository = strings.Trim(repository, "/")
	if strings.Count(repository, "/") != 1 {
		return nil, invalid("hf://"+rest, "it names no repository; write hf://<organisation>/<model> or hf://<organisation>/<model>:<revision>")
	}
	source := &hub{
		client: newClient(trust{}), endpoint: strings.TrimSuffix(cmp.Or(env("HF_ENDPOINT"), defaultHub), "/"),
		repository: repository, revision: cmp.Or(revision, "main"),
	}
	if _, err := addressOf(source.endpoint); err != nil {
		return nil, invalidSetting("hf://"+rest, "write https://host", "HF_ENDPOINT %q is not an address: %w", source.endpoint, err)
	}
	// Like the Hub's own client, ignore a trailing line break, which Secrets often have.
	if token := strings.TrimSpace(cmp.Or(env("HF_TOKEN"), env("HUGGING_FACE_HUB_TOKEN"))); token != "" {
		if strings.ContainsFunc(token, unicode.IsSpace) {
			return nil, invalidSetting("hf://"+rest, "correct it in the secret", "HF_TOKEN has a space or a line break in it")
		}
		source.header.Set("Authorization", "Bearer "+token)
	}
	return source, nil
}

func (h *hub) uri() string { return "hf://" + h.repository + ":" + h.revision }

type entry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"` // SHA-256 in hexadecimal.
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// List implements [Source]. It resolves a branch to a commit first, so that all files are from the
// same commit.
func (h *hub) List(ctx context.Context) ([]Object, error) {
	var commit struct {
		SHA string `json:"sha"`
	}
	if _, err := h.get(ctx, h.api("revision", h.revision), &commit); err != nil {
		return nil, wrapError(h.uri(), err)
	}
	h.revision = cmp.Or(commit.SHA, h.revision)
	var objects []Object
	seen := map[string]bool{}
	for page := h.api("tree", h.revision) + "?recursive=true"; page != ""; {
		if seen[page] {
			return nil, wrapError(h.uri(), errors.New("the pages of the file list form a cycle"))
		}
		seen[page] = true
		var entries []entry
		next, err := h.get(ctx, page, &entries)
		if err != nil {
			return nil, wrapError(h.uri(), err)
		}
		for _, e := range entries {
			if e.Type == "file" {
				objects = append(objects, h.object(e))
			}
		}
		page = next
	}
	return objects, nil
}

func (h *hub) object(e entry) Object {
	object := Object{Name: e.Path, Key: e.Path, Size: e.Size, Version: e.OID} // The hash of the content, not of the commit.
	if e.LFS != nil {
		object.Size = e.LFS.Size
		if sum, err := hex.DecodeString(e.LFS.OID); err == nil {
			object.Sum = Checksum{SHA256, sum}
		}
	}
	return object
}

func (h *hub) api(what, revision string) string {
	return h.endpoint + "/api/models/" + h.repository + "/" + what + "/" + url.PathEscape(revision)
}

var nextLink = regexp.MustCompile(`<([^>]+)>;\s*rel="next"`)

// get decodes a JSON response, and returns the URL of the next page, if any. The token is not sent
// to a page on another server, because the server chooses that URL.
func (h *hub) get(ctx context.Context, address string, into any) (next string, err error) {
	page, err := addressOf(address)
	if err != nil {
		return "", err
	}
	client := h.client
	if endpoint, err := addressOf(h.endpoint); err != nil || originOf(page) != originOf(endpoint) {
		client = client.withoutHeaders()
	}
	response, err := client.do(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if match := nextLink.FindStringSubmatch(response.Header.Get("Link")); match != nil {
		link, err := page.Parse(match[1])
		if err != nil {
			return "", err
		}
		next = link.String()
	}
	return next, json.NewDecoder(io.LimitReader(response.Body, maxListing)).Decode(into)
}

// Read implements [Source]. It needs no tag, because the content of a commit does not change.
func (h *hub) Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	segments := strings.Split(object.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	address := h.endpoint + "/" + h.repository + "/resolve/" + h.revision + "/" + strings.Join(segments, "/")
	return h.read(ctx, address, object, offset, length)
}
