-- The extension's objects in this database as text, one line each, without anything that depends on OIDs or on use (buffers, row counts).
-- Two databases with the same extension must give the same lines.
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid FROM pg_depend d
 WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_trickle') AND d.deptype = 'e'
   AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                      AND c.relnamespace = 'pgtrickle_changes'::regnamespace AND c.relname ~ '^(changes|st)_[0-9]')
   -- row types of those
   AND NOT EXISTS (SELECT FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
                      AND t.typnamespace = 'pgtrickle_changes'::regnamespace AND t.typname ~ '^_?(changes|st)_[0-9]');
CREATE TEMP VIEW rel AS SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid;
CREATE FUNCTION pg_temp.acl(a aclitem[]) RETURNS text LANGUAGE sql AS
	$$ SELECT coalesce(string_agg(x::text, ',' ORDER BY x::text), 'default') FROM unnest(a) x $$;

SELECT l FROM (
	SELECT format('member %s %s', i.type, i.identity) AS l FROM member m, pg_identify_object(m.classid, m.objid, 0) i
	UNION ALL
	SELECT format('relation %s %s %s owner %s options %s acl %s comment %s', oid::regclass, relkind, relpersistence, relowner::regrole, reloptions,
	              pg_temp.acl(relacl), obj_description(oid, 'pg_class')) FROM rel
	UNION ALL
	SELECT format('column %s %s %s %s notnull %s default %s identity %s storage %s acl %s comment %s', attrelid::regclass, attnum, attname,
	              format_type(atttypid, atttypmod), attnotnull, pg_get_expr(d.adbin, d.adrelid), attidentity, attstorage, pg_temp.acl(attacl),
	              col_description(attrelid, attnum))
	  FROM rel JOIN pg_attribute a ON attrelid = rel.oid LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
	 WHERE attnum > 0 AND NOT attisdropped
	UNION ALL
	SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(k.oid)) FROM pg_constraint k JOIN rel ON rel.oid = conrelid
	UNION ALL
	SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index JOIN rel ON rel.oid = indrelid
	UNION ALL
	SELECT format('view %s %s', oid::regclass, pg_get_viewdef(oid)) FROM rel WHERE relkind = 'v'
	UNION ALL
	SELECT format('sequence %s %s %s %s %s', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqcycle) FROM pg_sequence JOIN rel ON rel.oid = seqrelid
	UNION ALL
	SELECT format('trigger %s %s', tgrelid::regclass, pg_get_triggerdef(t.oid)) FROM pg_trigger t JOIN rel ON rel.oid = tgrelid WHERE NOT tgisinternal
	UNION ALL
	SELECT format('function %s owner %s acl %s comment %s', pg_get_functiondef(p.oid), proowner::regrole, pg_temp.acl(proacl), obj_description(p.oid, 'pg_proc'))
	  FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE prokind <> 'a'
	UNION ALL
	SELECT format('event trigger %s %s %s %s %s', evtname, evtevent, evtenabled, evttags, evtfoid::regproc)
	  FROM pg_event_trigger e JOIN member m ON m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid
	UNION ALL
	SELECT format('schema %s acl %s', nspname, pg_temp.acl(nspacl)) FROM pg_namespace WHERE nspname LIKE 'pgtrickle%'
	UNION ALL
	SELECT format('type %s %s %s', t.oid::regtype, typtype, pg_temp.acl(typacl)) FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	UNION ALL
	SELECT format('initial privileges %s %s %s', i.identity, p.objsubid, pg_temp.acl(p.initprivs))
	  FROM pg_init_privs p JOIN member m ON m.classid = p.classoid AND m.objid = p.objoid, pg_identify_object(p.classoid, p.objoid, 0) i
	UNION ALL
	SELECT format('dumped %s where %s', c::regclass, w) FROM pg_extension, unnest(extconfig, extcondition) AS u(c, w) WHERE extname = 'pg_trickle'
	UNION ALL
	SELECT format('extension %s schema %s relocatable %s', extversion, extnamespace::regnamespace, extrelocatable) FROM pg_extension WHERE extname = 'pg_trickle'
) x ORDER BY l COLLATE "C";
