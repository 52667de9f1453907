{#-
How pairs of items are counted: python, or sql, as the setting similarity.way says; where no Python
models run, in SQL.
-#}
{% macro similarity_way() %}
    {% set way = perennial.setting('similarity').way %}
    {% do return(way if perennial.runs_python() else 'sql') %}
{% endmacro %}
