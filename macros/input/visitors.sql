{#-
Whose timeline an event belongs to. A device keeps its timeline through logins; without its
cookie there is the customer, and for an unknown one the sender's own session.

Arguments:
  events   alias of the relation that has the event
-#}
{% macro visitor_id(events) -%}
    coalesce(
        'device:' || {{ events }}.anonymous_id,
        'customer:' || {{ events }}.customer_id,
        'session:' || {{ events }}.session_id
    )
{%- endmacro %}


{#-
Whether an event is a visit: what is sent to a customer, and opened in a mailbox, is none.

Arguments:
  event_type   the event's type
-#}
{% macro is_visit(event_type) -%}
    {{ event_type }} not in ('email_sent', 'email_open', 'push_open')
{%- endmacro %}
