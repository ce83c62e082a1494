-- Registration of sources, change buffers and their segments (extension/source.c, segment.c, trim.c).

-- Never used twice, not even when a source is registered again: messages on their way must not meet another layout.
CREATE SEQUENCE pgtrickle.pgt_gen_seq AS int;
CREATE SEQUENCE pgtrickle.pgt_segno_seq;

-- The newest segment of each generation that still has one: where the consumer writes.
CREATE FUNCTION pgtrickle._consumer_segments(OUT source_relid oid, OUT gen int, OUT segno bigint, OUT relname text, OUT bytes bigint)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT ON (s.source_relid, s.gen) s.source_relid, s.gen, s.segno, s.relname, pg_relation_size(c.oid)
      FROM pgtrickle.pgt_segments s
      JOIN pg_class c ON c.relname = s.relname AND c.relnamespace = 'pgtrickle_changes'::regnamespace
     ORDER BY s.source_relid, s.gen, s.segno DESC
$$;

CREATE FUNCTION pgtrickle._consumer_rotate(source_relid oid, gen int) RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgt_consumer_rotate';

CREATE FUNCTION pgtrickle._consumer_trim() RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgt_consumer_trim';

CREATE FUNCTION pgtrickle._source_floor(source_relid oid) RETURNS xid8
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'pgt_consumer_floor';
REVOKE ALL ON FUNCTION pgtrickle._source_floor(oid) FROM PUBLIC;
