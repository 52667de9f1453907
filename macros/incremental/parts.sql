{#-
A condition by which a large table is made part by part: all rows of one value are in one part. A
`tracked` model that is made in full from more rows than fit into memory is made so, because what is
sorted or grouped is otherwise written to the disk and read again, several times over. The model
names in its meta, as `rows_of`, the model whose rows are divided.

Arguments:
  value   expression whose rows must stay together
-#}
{% macro in_part(value) -%}
    true /* part by: {{ value }} */
{%- endmacro %}


{#-
The queries that together make the whole table, one unless the model is divided and its rows are
too many.

Arguments:
  sql   the compiled model
-#}
{% macro parts_of(sql) %}
    {% set mark = modules.re.compile('true /\* part by: (.*?) \*/', modules.re.DOTALL) %}
    {% if not mark.search(sql) %}
        {% do return([sql]) %}
    {% endif %}
    {% set n_rows = run_query('select count(*) from ' ~ ref('perennial', config.get('meta').rows_of)).rows[0][0] %}
    {% set n_parts = (n_rows / perennial.rows_per_part()) | round(0, 'ceil') | int %}
    {% if n_parts < 2 %}
        {% do return([sql]) %}
    {% endif %}
    {% do log(model.name ~ ' is made in ' ~ n_parts ~ ' parts', info=true) %}
    {% set parts = [] %}
    {% for part in range(n_parts) %}
        {% do parts.append(mark.sub(perennial.key_hash(['\\1']) ~ ' % ' ~ n_parts ~ ' = ' ~ part, sql)) %}
    {% endfor %}
    {% do return(parts) %}
{% endmacro %}


{#-
How many rows are sorted or grouped at once: what fits into DuckDB's memory at 250 bytes each, which
is what two models at a time leave room for. PERENNIAL_PART_ROWS sets another number.
-#}
{% macro rows_per_part() %}
    {% set given = env_var('PERENNIAL_PART_ROWS', '') %}
    {% if given %}
        {% do return(given | int) %}
    {% endif %}
    {% set number, unit = run_query("select current_setting('memory_limit')").rows[0][0].split(' ') %}
    {% set power = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'].index(unit) %}
    {% do return((number | float * 1024 ** power / 250) | int) %}
{% endmacro %}
