{#- How many steps a funnel may have. Each is a pass of its own over the events of two steps. -#}
{% macro max_funnel_steps() %}
    {% do return(8) %}
{% endmacro %}


{#-
Whether the step that a way begins with may follow the step of the row: inside its window and, in
a strict funnel, as the very next thing. An expression over the columns is_strict, visit_number,
occurred_at and next_window_seconds.

Arguments:
  way   a column: visit number of the next step, a semicolon, and the moments of the steps from
        there on, with a bar between them; may be null
-#}
{% macro is_next_step(way) -%}
    {{ perennial.seconds_between(
        'occurred_at',
        "cast(split_part(split_part(" ~ way ~ ", ';', 2), '|', 1) as timestamp)"
    ) }} <= next_window_seconds
    and (
        not is_strict
        or cast(split_part({{ way }}, ';', 1) as bigint) = visit_number + 1
    )
{%- endmacro %}


{#-
When a step of a chain was done. An expression over the columns occurred_at, which is when the
first was, and onward, the moments of the others with a bar before each.

Arguments:
  place   an expression: 1 for the first; null where it is 0
-#}
{% macro step_moment(place) -%}
    case
        when {{ place }} = 1 then occurred_at
        when {{ place }} > 1
            then cast(split_part(onward, '|', cast({{ place }} as integer)) as timestamp)
    end
{%- endmacro %}
