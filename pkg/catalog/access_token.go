package catalog

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// AccessToken is what is known of an access token, which is all but its secret.
type AccessToken struct {
	ID        string
	ExpiresAt time.Time // whole seconds; zero: never
	// AutoPrefix: stream names are given and shown without the prefix of
	// Scope.Streams.
	AutoPrefix bool
	Scope      *samsav1.AccessTokenScope
	CreatedAt  time.Time
}

// IssueAccessToken makes a token and returns its secret, which is not kept.
// ErrExists: the id is taken by a token that has not expired. Of t, CreatedAt is
// ignored.
func (c *Catalog) IssueAccessToken(ctx context.Context, t AccessToken) (secret string, err error) {
	secret, hash := newSecret(t.ID)
	scope, err := protojson.Marshal(t.Scope)
	if err != nil {
		return "", fmt.Errorf("issue access token: %w", err)
	}
	const issue = `INSERT INTO access_tokens AS old (id, hash, expires_at, auto_prefix, scope) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at,
			auto_prefix = excluded.auto_prefix, scope = excluded.scope, created_at = excluded.created_at
		WHERE old.expires_at <= now()`
	err = c.transact(ctx, "issue access token", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, issue, t.ID, hash[:], zeronull.Timestamptz(t.ExpiresAt), t.AutoPrefix, scope)
		if err == nil && tag.RowsAffected() == 0 {
			return &ObjectError{ObjectAccessToken, t.ID, ErrExists}
		}
		return err
	})
	if err != nil {
		return "", err
	}
	c.accessTokenChanged(ctx, t.ID)
	return secret, nil
}

// RevokeAccessToken takes a token away and returns what it was: ErrNotFound.
func (c *Catalog) RevokeAccessToken(ctx context.Context, id string) (AccessToken, error) {
	var row tokenRow
	err := c.transact(ctx, "revoke access token", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "DELETE FROM access_tokens WHERE id = $1 RETURNING "+tokenColumns, id)
		r, found, err := one(rows, err, scanToken)
		if err == nil && !found {
			return &ObjectError{ObjectAccessToken, id, ErrNotFound}
		}
		row = r
		return err
	})
	if err != nil {
		return AccessToken{}, err
	}
	c.accessTokenChanged(ctx, id)
	return row.token, nil
}

// ListAccessTokens lists tokens by id, also expired ones that are not removed
// yet.
func (c *Catalog) ListAccessTokens(ctx context.Context, page Page) (tokens []AccessToken, more bool, err error) {
	condition, args := page.where("id", 1)
	query := "SELECT " + tokenColumns + " FROM access_tokens WHERE " + condition
	err = c.read(ctx, "list access tokens", func(ctx context.Context, db queryer) (err error) {
		tokens, more, err = list(ctx, db, query, args, page, "id", func(row pgx.CollectableRow) (AccessToken, error) {
			r, err := scanToken(row)
			return r.token, err
		})
		return err
	})
	return tokens, more, err
}

// VerifyAccessToken finds the token that has this secret: ErrInvalidToken if
// there is none, ErrTokenExpired with the token if it was valid once.
func (c *Catalog) VerifyAccessToken(ctx context.Context, secret string) (AccessToken, error) {
	key, ok := ParseAccessToken(secret)
	if !ok {
		return AccessToken{}, ErrInvalidToken
	}
	return c.CheckAccessToken(ctx, key)
}

// AccessTokenKey is enough to check an access token again, and not enough to use
// it: its public id and the hash of its text.
type AccessTokenKey struct {
	ID   string
	Hash [sha256.Size]byte
}

// ParseAccessToken takes the text of an access token apart; false: it is none, and
// Postgres need not be asked.
func ParseAccessToken(secret string) (AccessTokenKey, bool) {
	id, ok := secretID(secret)
	if !ok {
		return AccessTokenKey{}, false
	}
	return AccessTokenKey{ID: id, Hash: sha256.Sum256([]byte(secret))}, true
}

// CheckAccessToken is VerifyAccessToken for those who did not keep the secret.
func (c *Catalog) CheckAccessToken(ctx context.Context, key AccessTokenKey) (AccessToken, error) {
	var row tokenRow
	err := c.read(ctx, "verify access token", func(ctx context.Context, db queryer) error {
		rows, err := db.Query(ctx, "SELECT "+tokenColumns+" FROM access_tokens WHERE id = $1", key.ID)
		// An unknown id leaves the hash empty, which nothing matches.
		row, _, err = one(rows, err, scanToken)
		return err
	})
	if err != nil {
		return AccessToken{}, err
	}
	if subtle.ConstantTimeCompare(key.Hash[:], row.hash) != 1 {
		return AccessToken{}, ErrInvalidToken
	}
	if row.expired {
		return row.token, ErrTokenExpired
	}
	return row.token, nil
}

// expiredKept is how long an expired token can still be told from an invalid
// one.
const expiredKept = 24 * time.Hour

// RemoveExpiredAccessTokens removes tokens that expired a day ago or longer, and
// tells how many.
func (c *Catalog) RemoveExpiredAccessTokens(ctx context.Context) (removed int, err error) {
	err = c.transact(ctx, "remove expired access tokens", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM access_tokens WHERE expires_at <= now() - $1::interval", expiredKept)
		removed = int(tag.RowsAffected())
		return err
	})
	return removed, err
}

const tokenColumns = "id, hash, expires_at, COALESCE(expires_at <= now(), false), auto_prefix, scope, created_at" //nolint:gosec // names of columns

type tokenRow struct {
	token   AccessToken
	hash    []byte
	expired bool
}

func scanToken(row pgx.CollectableRow) (tokenRow, error) {
	r := tokenRow{token: AccessToken{Scope: new(samsav1.AccessTokenScope)}}
	var expiresAt zeronull.Timestamptz
	var scope []byte
	err := row.Scan(&r.token.ID, &r.hash, &expiresAt, &r.expired, &r.token.AutoPrefix, &scope, &r.token.CreatedAt)
	if err != nil {
		return r, err
	}
	r.token.ExpiresAt = time.Time(expiresAt)
	// A newer version may have written what this one does not know: what is
	// unknown grants nothing.
	reader := protojson.UnmarshalOptions{DiscardUnknown: true}
	if err := reader.Unmarshal(scope, r.token.Scope); err != nil {
		return r, errors.Join(fmt.Errorf("scope of access token %q", r.token.ID), err)
	}
	return r, nil
}
