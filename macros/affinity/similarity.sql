{#-
How pairs of items are counted: python, or sql, as the setting similarity.way says; where no Python
models run, in SQL.
-#}
{% macro similarity_way() %}
    {% set similarity = perennial.setting('similarity') %}
    {% set way = similarity.way if perennial.runs_python() else 'sql' %}
    {% if way == 'sql' and similarity.half_life_days %}
        {% do perennial.stop("setting 'similarity': half_life_days is weighed in Python only; leave it"
            ~ ' out, or use the way python.') %}
    {% endif %}
    {% do return(way) %}
{% endmacro %}
