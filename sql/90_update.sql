-- update {
-- Buffers of 0.19.0 have no masks.  The column comes behind those of existing segments, whose rows keep; the consumer, which sends it
-- third, goes on with new segments.  It starts over by itself when it sees the new schema.
DO $$
DECLARE
    buffer record;
BEGIN
    FOR buffer IN
        SELECT c.relname, coalesce(s.natts, t.relnatts, 0) AS natts
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'pgtrickle_changes'
          LEFT JOIN pgtrickle.pgt_sources s ON 'changes_' || s.relid = c.relname
          LEFT JOIN pg_catalog.pg_class t ON 'changes_' || t.oid = c.relname
         WHERE c.relkind = 'r' AND c.relname ~ '^changes_[0-9]+$'
         ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE pgtrickle_changes.%I ADD changed_columns pg_catalog.%s', buffer.relname,
                       CASE WHEN buffer.natts <= 63 THEN 'int8' ELSE 'varbit' END);
    END LOOP;
    PERFORM pgtrickle._consumer_rotate(g.source_relid, g.gen)
       FROM (SELECT DISTINCT s.source_relid, s.gen FROM pgtrickle.pgt_segments s ORDER BY 1, 2) g;
    -- As if they were registered now.
    UPDATE pgtrickle.pgt_sources SET mask = coalesce(pg_catalog.current_setting('pg_trickle.columnar_tracking', true), 'on')::bool;
    PERFORM pg_catalog.pg_notify('pgtrickle_catalog', '');
END
$$;
-- }
